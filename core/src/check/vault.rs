//! The vault.

use super::Check;
use crate::error::Result;
use crate::repository::vault::Vault;

pub(super) fn run(_check: &mut Check<'_>, _vault: &Vault) -> Result<()> {
    Ok(())
}
