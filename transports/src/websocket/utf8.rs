//! UTF-8 that arrives in pieces: refused at the first byte that no continuation can save, in whatever piece it comes.

/// The state between two pieces: the bytes of a character that is not complete.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    pending: [u8; 4],
    len: u8,
}

/// The bytes seen cannot become UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

impl Utf8 {
    /// Takes the next piece.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            let end = usize::from(self.len) + 1;
            let Some(character) = self.pending.get_mut(..end) else { return Err(Invalid) };
            if let Some(last) = character.last_mut() {
                *last = byte;
            }
            match std::str::from_utf8(character) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(Invalid),
                Err(_) => self.len += 1,
            }
        }
        let Err(error) = simdutf8::compat::from_utf8(piece) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(Invalid);
        }
        let tail = piece.get(error.valid_up_to()..).unwrap_or_default();
        for (slot, byte) in self.pending.iter_mut().zip(tail) {
            *slot = *byte;
        }
        self.len = tail.len() as u8; // At most three: a whole character would be valid or an error.
        Ok(())
    }
}
