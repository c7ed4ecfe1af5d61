//! A queue whose first item lies in the queue itself.
//!
//! Most queues here hold one item at most, thousands of them are alive, and each is used a few times a second:
//! an item in a buffer of its own would be one more piece of memory to fetch for every token.

use std::collections::VecDeque;

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Slotted<T> {
    first: Option<T>,
    /// Empty unless `first` is there.
    rest: VecDeque<T>,
}

impl<T> Default for Slotted<T> {
    fn default() -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
        }
    }
}

impl<T> Slotted<T> {
    pub(crate) fn push_back(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push_back(item);
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take()?;
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        }
        Some(first)
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether there is more than one.
    pub(crate) fn has_more(&self) -> bool {
        !self.rest.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }
}

impl<T> Extend<T> for Slotted<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push_back(item));
    }
}

impl<T> FromIterator<T> for Slotted<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut queue = Self::default();
        queue.extend(items);
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is pushed and popped, it behaves as the standard queue does.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec(prop::option::of(0..100), 0..50)) {
            let (mut queue, mut model) = (Slotted::default(), VecDeque::new());
            for step in steps {
                match step {
                    Some(item) => {
                        queue.push_back(item);
                        model.push_back(item);
                    }
                    None => prop_assert_eq!(queue.pop_front(), model.pop_front()),
                }
                prop_assert_eq!(queue.front(), model.front());
                prop_assert_eq!((queue.is_empty(), queue.has_more()), (model.is_empty(), model.len() > 1));
                prop_assert!(queue.iter().eq(&model));
            }
        }
    }
}
