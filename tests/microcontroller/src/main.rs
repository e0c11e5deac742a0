//! Microcontroller program: the delta reader on a Cortex-M4 without operating system or heap. It makes the checks of
//! the host's tests on a signed file, with 32-bit sizes, prints the stack that it used, and ends with the host's exit
//! status.

#![no_std]
#![no_main]

#[path = "../../../crates/delta/tests/common/everywhere.rs"]
mod everywhere;

use core::fmt::{Arguments, Write};
use core::panic::PanicInfo;
use cortex_m_rt::{STACK_PAINT_VALUE, entry};
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
use cortex_m_semihosting::hio::hstdout;
use everywhere::{FILE, VALUES, check_damage, check_forgeries, check_values};

#[entry]
fn main() -> ! {
    static mut COPY: [u8; FILE.len()] = [0; FILE.len()];
    static mut OUT: [f32; VALUES] = [0.0; VALUES];

    check_values(OUT);
    let reading = stack_used();
    check_damage(COPY);
    check_forgeries(COPY, OUT);
    let refusing = stack_used();
    say(format_args!("read to the bit, {reading} bytes of stack; every damage refused, {refusing} bytes of stack"));
    end(EXIT_SUCCESS)
}

/// How many bytes the stack has been deep since the start.
fn stack_used() -> usize {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    let (highest, mut lowest) = (&raw const _stack_start, &raw const _stack_end);
    // SAFETY: both are addresses of the stack's aligned bounds, which the linker gives; the start-up code has written every
    // word between them, and nothing else runs that could write one now.
    while lowest < highest && unsafe { lowest.read_volatile() } == STACK_PAINT_VALUE {
        lowest = lowest.wrapping_add(1);
    }
    highest as usize - lowest as usize
}

/// Prints a line on the host. Without a host's console it is lost, and the exit status remains.
fn say(line: Arguments) {
    if let Ok(mut console) = hstdout() {
        let _ = writeln!(console, "{line}");
    }
}

fn end(status: cortex_m_semihosting::debug::ExitStatus) -> ! {
    exit(status);
    loop {}
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    say(format_args!("{info}"));
    end(EXIT_FAILURE)
}
