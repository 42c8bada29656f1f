//! A slow line for a benchmark: `wire SERVER [DELAY_MS [BYTES_PER_SECOND]]` prints the port of loopback that leads to the
//! server, and passes bytes on until its standard input ends.

#![allow(clippy::print_stdout, reason = "this is how whoever started it learns the port")]

use icecore_testkit::wire::{Plan, Proxy};
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let server: SocketAddr = arguments.next().ok_or("wire SERVER [DELAY_MS [BYTES_PER_SECOND]]")?.parse()?;
    let delay_ms: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let bytes_per_second = arguments.next().map(|text| text.parse()).transpose()?;
    let plan = Plan { bytes_per_second, ..Plan::delayed(Duration::from_millis(delay_ms)) };
    let proxy = Proxy::with(server, plan);
    println!("{}", proxy.port());
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}
