//! The mode `fs`: what the system has in memory of files is written to the disks before they are read. It matters where what is read is
//! not what programs see: a volume of a machine below, say.

use super::{Mode, ModeArguments, Prepared, Reading};
use crate::cli::Context;
use icecore::error::Result;

/// The word for it.
pub const NAME: &str = "fs";

/// Files of any sort.
pub struct Fs;

struct Written;

impl Mode for Fs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "what the system still has in memory is written to the disks first"
    }

    fn prepare(&self, _: &Context<'_>, _: &ModeArguments, _: Reading) -> Result<Box<dyn Prepared>> {
        rustix::fs::sync();
        Ok(Box::new(Written))
    }
}

impl Prepared for Written {
    fn confirm(&mut self) -> Result<()> {
        Ok(())
    }

    fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
