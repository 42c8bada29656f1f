//! A storage that is said to be far away: callers then use it as they use one whose every request waits for an answer.

use icecore::storage::{Capabilities, Storage};
use std::sync::Arc;

/// Decorates a storage.
pub struct Far(pub Arc<dyn Storage>);

// What is forgotten here would pass by what this storage adds.
#[deny(clippy::missing_trait_methods)]
impl Storage for Far {
    fn capabilities(&self) -> Capabilities {
        Capabilities { parallel: true, ..self.0.capabilities() }
    }

    fn is_close(&self) -> bool {
        false
    }

    icecore::storage::forward!(
        [0] put begin_put put_shared put_fleeting writer read read_into read_copy hold distrust stat list
            delete remove clean_temporaries label
    );
}
