//! `Hasher`: passwords to hashes and back to yes or no (PROTOCOL.md section 2, Limits).
//!
//! Slow on purpose, so it belongs to a thread of its own, whose memory it keeps from one password to the next: what hashing
//! needs is bounded by the number of those threads. Stored hashes are PHC strings of argon2id; bcrypt is only verified,
//! for accounts that were imported.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;

use crate::text::Password;

/// What a hash costs whoever makes one: argon2id's m, t and p.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes; they are filled one after the other.
    pub lanes: u32,
}

/// Hashes and verifies, one at a time.
pub struct Hasher {
    cost: PasswordCost,
    /// As much as hashing needs, kept from one password to the next.
    memory: Vec<Block>,
}

/// Whether a password was the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was.
    Correct {
        /// The stored hash is not what would be made today: make a new one.
        outdated: bool,
    },
    /// It was not.
    Wrong,
}

/// Why there is no hash or verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The stored hash is of no kind known here, damaged, or costs more than will be spent.
    #[error("the stored password hash cannot be used: {0}")]
    Unusable(&'static str),
    /// argon2 did not work with these parameters.
    #[error("hashing failed: {0}")]
    Failed(argon2::Error),
}

impl PasswordCost {
    /// What production must at least spend (OWASP's recommendation for argon2id).
    pub const LEAST: PasswordCost = PasswordCost { memory_kib: 19456, passes: 2, lanes: 1 };

    /// The most that is spent on one password: 1 GiB, and half a minute or so.
    const MOST: PasswordCost = PasswordCost { memory_kib: 1 << 20, passes: 64, lanes: 64 };

    /// Whether each part is at least as high.
    pub fn is_at_least(self, other: PasswordCost) -> bool {
        self.memory_kib >= other.memory_kib && self.passes >= other.passes && self.lanes >= other.lanes
    }

    fn params(self) -> Result<Params, HashError> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH_BYTES)).map_err(HashError::Failed)
    }
}

impl FromStr for PasswordCost {
    type Err = PasswordCostError;

    fn from_str(text: &str) -> Result<Self, PasswordCostError> {
        let mut parts = text.split(',').map(|part| part.trim().parse::<u32>().map_err(|_| PasswordCostError));
        let mut next = || parts.next().unwrap_or(Err(PasswordCostError));
        let cost = PasswordCost { memory_kib: next()?, passes: next()?, lanes: next()? };
        let usable = PasswordCost::MOST.is_at_least(cost) && cost.params().is_ok();
        if parts.next().is_none() && usable { Ok(cost) } else { Err(PasswordCostError) }
    }
}

impl fmt::Display for PasswordCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.memory_kib, self.passes, self.lanes)
    }
}

/// Not a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be argon2's m in KiB (8 for each lane to 1048576), t (1 to 64) and p (1 to 64), such as 19456,2,1"
)]
pub struct PasswordCostError;

impl Hasher {
    /// A hasher that makes hashes of this cost.
    pub fn new(cost: PasswordCost) -> Hasher {
        Hasher { cost, memory: Vec::new() }
    }

    /// The PHC string of a new password. The salt comes from the caller's source of chance.
    pub fn hash(&mut self, password: &Password, salt: [u8; 16]) -> Result<String, HashError> {
        let params = self.cost.params()?;
        let output = self.argon2(Algorithm::Argon2id, Version::V0x13, params.clone(), password, &salt)?;
        let unwritable = |_| HashError::Unusable("it cannot be written");
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params).map_err(unwritable)?,
            salt: Some(Salt::new(&salt).map_err(|_| HashError::Unusable("its salt cannot be written"))?),
            hash: Some(Output::new(&output).map_err(|_| HashError::Unusable("it cannot be written"))?),
        };
        Ok(hash.to_string())
    }

    /// Whether the password belongs to the stored hash.
    pub fn verify(&mut self, password: &Password, stored: &str) -> Result<Verdict, HashError> {
        if stored.starts_with("$2") {
            verify_bcrypt(password, stored)
        } else {
            self.verify_argon2(password, stored)
        }
    }

    /// Spends what verifying would, for an account that is not there: the time must not tell which names exist.
    pub fn verify_nothing(&mut self, password: &Password) -> Result<Verdict, HashError> {
        let params = self.cost.params()?;
        self.argon2(Algorithm::Argon2id, Version::V0x13, params, password, b"no such account!")?;
        Ok(Verdict::Wrong)
    }

    fn verify_argon2(&mut self, password: &Password, stored: &str) -> Result<Verdict, HashError> {
        let damaged = HashError::Unusable("it is damaged or of an unknown kind");
        let Ok(parsed) = PasswordHash::new(stored) else { return Err(damaged) };
        let Ok(algorithm) = Algorithm::try_from(parsed.algorithm.as_str()) else { return Err(damaged) };
        let version = match parsed.version {
            None | Some(0x10) => Version::V0x10,
            Some(0x13) => Version::V0x13,
            Some(_) => return Err(damaged),
        };
        let Ok(params) = Params::try_from(&parsed) else { return Err(damaged) };
        let (Some(salt), Some(expected)) = (parsed.salt, parsed.hash) else { return Err(damaged) };
        let cost =
            PasswordCost { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
        let memory_kib = IMPORTED_MEMORY_KIB_MAX.max(self.cost.memory_kib);
        if !(PasswordCost { memory_kib, ..PasswordCost::MOST }).is_at_least(cost) {
            return Err(HashError::Unusable("it costs too much"));
        }
        let output = self.argon2(algorithm, version, params, password, &salt)?;
        if !bool::from(output.ct_eq(expected.as_bytes())) {
            return Ok(Verdict::Wrong);
        }
        let current = algorithm == Algorithm::Argon2id
            && version == Version::V0x13
            && output.len() == HASH_BYTES
            && cost.is_at_least(self.cost);
        Ok(Verdict::Correct { outdated: !current })
    }

    fn argon2(
        &mut self,
        algorithm: Algorithm,
        version: Version,
        params: Params,
        password: &Password,
        salt: &[u8],
    ) -> Result<Vec<u8>, HashError> {
        let blocks = params.block_count();
        let mut output = vec![0; params.output_len().unwrap_or(HASH_BYTES)];
        if self.memory.len() < blocks {
            self.memory.resize(blocks, Block::default());
        }
        Argon2::new(algorithm, version, params)
            .hash_password_into_with_memory(
                password.as_bytes(),
                salt,
                &mut output,
                &mut self.memory[..blocks],
            )
            .map_err(HashError::Failed)?;
        // One dear hash from an import must not leave the thread with its memory.
        let usual = self.cost.params()?.block_count();
        if self.memory.len() > usual {
            self.memory.truncate(usual);
            self.memory.shrink_to_fit();
        }
        Ok(output)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.cost)
    }
}

/// Verifies what bcrypt made, which looks at 72 bytes and no more: so a correct one is always outdated.
fn verify_bcrypt(password: &Password, stored: &str) -> Result<Verdict, HashError> {
    let parts: bcrypt::HashParts =
        stored.parse().map_err(|_| HashError::Unusable("it is damaged or of an unknown kind"))?;
    if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix)) {
        return Err(HashError::Unusable("it is a kind of bcrypt with a known flaw"));
    }
    if parts.get_cost() > BCRYPT_COST_MAX {
        return Err(HashError::Unusable("it costs too much"));
    }
    match bcrypt::verify(password.as_bytes(), stored) {
        Ok(true) => Ok(Verdict::Correct { outdated: true }),
        Ok(false) => Ok(Verdict::Wrong),
        Err(_) => Err(HashError::Unusable("it is damaged")),
    }
}

/// The length of the hashes made here.
const HASH_BYTES: usize = 32;

/// What a stored hash may need at most, unless more is configured. Other programs' defaults reach 100 MiB (Django's).
const IMPORTED_MEMORY_KIB_MAX: u32 = 128 * 1024;

/// Each more doubles the time; 16 takes some seconds.
const BCRYPT_COST_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordCost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };

    fn password(text: &str) -> Password {
        Password::attempt(text).unwrap()
    }

    #[test]
    fn a_hash_verifies_its_password_only() {
        let mut hasher = Hasher::new(CHEAP);
        let hash = hasher.hash(&password("correct horse"), [7; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let verdict = hasher.verify(&password("correct horse"), &hash);
        assert_eq!(verdict, Ok(Verdict::Correct { outdated: false }));
        assert_eq!(hasher.verify(&password("correct horsf"), &hash), Ok(Verdict::Wrong));
        assert_ne!(hash, hasher.hash(&password("correct horse"), [8; 16]).unwrap());
        assert_eq!(hasher.verify_nothing(&password("correct horse")), Ok(Verdict::Wrong));
    }

    #[test]
    fn hashes_agree_with_the_reference_implementation() {
        // The reference's own test vectors (phc-winner-argon2, src/test.c): version 0x13, t=2, m=2^8 and 2^16, p=1 and 2.
        let mut hasher = Hasher::new(CHEAP);
        for stored in [
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        ] {
            let verdict = hasher.verify(&password("password"), stored);
            assert!(matches!(verdict, Ok(Verdict::Correct { .. })), "{stored}: {verdict:?}");
            assert_eq!(hasher.verify(&password("passwort"), stored), Ok(Verdict::Wrong));
        }
    }

    #[test]
    fn a_cheaper_hash_is_outdated() {
        let dearer = PasswordCost { passes: 2, ..CHEAP };
        let hash = Hasher::new(CHEAP).hash(&password("correct horse"), [7; 16]).unwrap();
        let verdict = Hasher::new(dearer).verify(&password("correct horse"), &hash);
        assert_eq!(verdict, Ok(Verdict::Correct { outdated: true }));
        let hash = Hasher::new(dearer).hash(&password("correct horse"), [7; 16]).unwrap();
        let verdict = Hasher::new(CHEAP).verify(&password("correct horse"), &hash);
        assert_eq!(verdict, Ok(Verdict::Correct { outdated: false }));
    }

    #[test]
    fn memory_does_not_grow_with_what_was_met() {
        let mut hasher = Hasher::new(CHEAP);
        let dear = PasswordCost { memory_kib: 1024, ..CHEAP };
        let hash = Hasher::new(dear).hash(&password("correct horse"), [7; 16]).unwrap();
        assert!(matches!(hasher.verify(&password("correct horse"), &hash), Ok(Verdict::Correct { .. })));
        assert_eq!(hasher.memory.len(), 64);
    }

    #[test]
    fn imported_bcrypt_hashes_are_verified_and_outdated() {
        let mut hasher = Hasher::new(CHEAP);
        let salt = *b"0123456789abcdef";
        let parts = bcrypt::hash_with_salt("pässword mit ümlaut", 4, salt).unwrap();
        for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
            let stored = parts.format_for_version(version);
            let verdict = hasher.verify(&password("pässword mit ümlaut"), &stored);
            assert_eq!(verdict, Ok(Verdict::Correct { outdated: true }), "{stored}");
            assert_eq!(hasher.verify(&password("password"), &stored), Ok(Verdict::Wrong));
        }
        let flawed = parts.format_for_version(bcrypt::Version::TwoX);
        assert!(hasher.verify(&password("pässword mit ümlaut"), &flawed).is_err());
        // From the bcrypt test vectors of OpenBSD and jBCrypt.
        let verdict =
            hasher.verify(&password("abc"), "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i");
        assert_eq!(verdict, Ok(Verdict::Correct { outdated: true }));
    }

    #[test]
    fn a_damaged_or_too_costly_hash_is_an_error() {
        let mut hasher = Hasher::new(CHEAP);
        for stored in [
            "",
            "plain",
            "$",
            "$1$abc$def",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ",
            "$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=131073,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=64,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "$2b$31$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i",
            "$2b$06$",
            "$2é$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i",
        ] {
            assert!(hasher.verify(&password("correct horse"), stored).is_err(), "{stored}");
        }
    }

    #[test]
    fn costs_are_three_numbers() {
        assert_eq!("19456,2,1".parse(), Ok(PasswordCost::LEAST));
        assert_eq!(PasswordCost::LEAST.to_string(), "19456,2,1");
        assert_eq!(" 64, 1, 1".parse(), Ok(CHEAP));
        for text in
            ["", "64", "64,1", "64,1,1,1", "64,0,1", "7,1,1", "64,1,0", "2000000,1,1", "x,1,1", "-1,1,1"]
        {
            assert_eq!(text.parse::<PasswordCost>(), Err(PasswordCostError), "{text}");
        }
    }
}
