//! A few values that were used last. So few that looking at each is the fastest way to find one.

pub(super) struct Keep<K, V> {
    /// The one used last at the end.
    kept: Vec<(K, V)>,
    capacity: usize,
}

impl<K: PartialEq, V: Clone> Keep<K, V> {
    pub fn new(capacity: usize) -> Self {
        Keep { kept: Vec::with_capacity(capacity), capacity }
    }

    pub fn get(&mut self, key: &K) -> Option<V> {
        let at = self.kept.iter().rposition(|(known, _)| known == key)?;
        Some(self.used(at))
    }

    /// The value used last of those that `is_right`.
    pub fn find(&mut self, is_right: impl Fn(&V) -> bool) -> Option<V> {
        let at = self.kept.iter().rposition(|(_, value)| is_right(value))?;
        Some(self.used(at))
    }

    fn used(&mut self, at: usize) -> V {
        self.kept[at..].rotate_left(1);
        self.kept[self.kept.len() - 1].1.clone()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// Takes a value in; the one that was not used for the longest time goes when there is no room.
    pub fn insert(&mut self, key: K, value: V) {
        self.kept.retain(|(known, _)| *known != key);
        if self.kept.len() >= self.capacity {
            self.kept.remove(0);
        }
        self.kept.push((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut keep = Keep::new(3);
        for number in 0..3 {
            keep.insert(number, number * 10);
        }
        assert_eq!(keep.get(&0), Some(0));
        keep.insert(3, 30);
        assert_eq!((keep.get(&1), keep.get(&0), keep.get(&2)), (None, Some(0), Some(20)));
        keep.insert(2, 21);
        assert_eq!(keep.find(|value| *value % 2 == 1), Some(21));
        keep.insert(4, 40);
        assert_eq!((keep.get(&3), keep.get(&2)), (None, Some(21)));
    }
}
