//! What many calls need of whatever brings their frames to the client: room, a turn, and an end.

use std::convert::Infallible;

use crate::{dialect::mux::Form, dialect::websocket::Close, gateway::turn::Turn};

/// The way down of one client's frames.
pub(in crate::gateway) trait Downlink: Send + 'static {
    fn turn(&mut self) -> &mut Turn;

    /// Bytes that wait for the client.
    fn waiting(&self) -> usize;

    /// Appends a frame, whose payload `write` appends.
    ///
    /// # Errors
    /// What `write` fails with; nothing is appended then.
    fn frame<T, E>(&mut self, form: Form, write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>) -> Result<T, E>;

    /// Says that it is over, and why. Nothing follows.
    fn close(&mut self, close: &Close);

    /// Appends a frame that can always be written.
    fn tell(&mut self, form: Form, write: impl FnOnce(&mut Vec<u8>)) {
        let Ok(()) = self.frame(form, |out| {
            write(out);
            Ok::<_, Infallible>(())
        });
    }
}
