//! A long object on its way: pieces of [`FTP_PIECE_BYTES`], each kept until the server has it.
//!
//! A piece that fails in a way that may pass is begun again where the server's file ends. No session is held between pieces.

use super::site::{Site, Target};
use icecore::error::Result;
use icecore::limits::FTP_PIECE_BYTES;
use icecore::name::ObjectName;
use icecore::storage::{ObjectWriter, PutMode};
use std::sync::Arc;

/// An object being written.
pub(super) struct Writer {
    site: Arc<Site>,
    name: ObjectName,
    mode: PutMode,
    temporary: String,
    /// What the server does not have yet.
    piece: Vec<u8>,
    sent_bytes: u64,
    /// Whether there may be something on the server that has to go with an unfinished writer.
    left: bool,
}

impl Writer {
    /// Nothing is sent before there is a piece.
    pub fn new(site: Arc<Site>, name: ObjectName, mode: PutMode) -> Writer {
        let temporary = site.temporary();
        Writer { site, name, mode, temporary, piece: Vec::new(), sent_bytes: 0, left: false }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let (site, base) = (&self.site, self.sent_bytes);
        self.left = true;
        site.patience.retrying(&self.temporary, |again| {
            let mut session = site.lease_to_write()?;
            site.store(&mut session, &self.temporary, base, bytes, again)
        })?;
        self.sent_bytes += bytes.len() as u64;
        Ok(())
    }

    fn send_piece(&mut self) -> Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.send(&piece)?;
        self.piece = piece;
        self.piece.clear();
        Ok(())
    }
}

impl ObjectWriter for Writer {
    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // What is a piece by itself needs no second place in memory.
            if self.piece.is_empty() && bytes.len() >= FTP_PIECE_BYTES {
                self.send(&bytes[..FTP_PIECE_BYTES])?;
                bytes = &bytes[FTP_PIECE_BYTES..];
                continue;
            }
            let room = FTP_PIECE_BYTES - self.piece.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.piece.extend_from_slice(now);
            if self.piece.len() == FTP_PIECE_BYTES {
                self.send_piece()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if !self.piece.is_empty() || self.sent_bytes == 0 {
            self.send_piece()?;
        }
        let target = Target { name: &self.name, mode: self.mode, size_bytes: self.sent_bytes };
        self.site.patience.retrying(&self.temporary, |again| {
            let mut session = self.site.lease_to_write()?;
            self.site.publish(&mut session, &self.temporary, &target, again)
        })?;
        self.left = false;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.left {
            return;
        }
        let temporary = std::mem::take(&mut self.temporary);
        match self.site.pool.lease() {
            Ok(mut session) => self.site.discard(&mut session, temporary),
            // There is nobody to tell; what stays is a stray.
            Err(_) => self.site.leave(temporary),
        }
    }
}
