//! `Slots`: a reactor's connections by number, with a generation each, so that a late answer never reaches a new connection
//! in an old slot.

use chatroom_core::id::ConnId;

pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Take a value in.
    pub(crate) fn insert(&mut self, value: T) -> ConnId {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return ConnId { slot: index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("a reactor has fewer than 2^32 connections");
        self.slots.push(Slot { generation: 1, value: Some(value) });
        ConnId { slot: index, generation: 1 }
    }

    /// Give a slot free; what was in it.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    /// Whatever is in the slot now.
    pub(crate) fn at(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.value.as_mut()
    }

    /// What this id was given for, if it is still there.
    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    /// The id of what is in the slot now.
    pub(crate) fn id(&self, index: u32) -> Option<ConnId> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().map(|_| ConnId { slot: index, generation: slot.generation })
    }

    /// The numbers of all slots in use.
    pub(crate) fn used(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.slots).filter(|(_, slot)| slot.value.is_some()).map(|(index, _)| index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> + '_ {
        (0u32..).zip(&self.slots).filter_map(|(index, slot)| slot.value.as_ref().map(|value| (index, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_finds_another_generation() {
        let mut slots = Slots::default();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first.slot), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.slot, second.slot);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get(second), Some(&mut "second"));
        assert_eq!(slots.len(), 1);
    }
}
