//! Sized structures: the first member is the caller's `sizeof`, so that programs and libraries of different releases
//! understand each other.
//!
//! Members are only ever appended, and zero means their default. Of a shorter structure, the members that it lacks are zero. Of
//! a longer one, those that this library does not know must be zero.

use crate::failure::Failure;
use std::mem::MaybeUninit;
use std::{ptr, slice};

/// Maximum size of a structure of any release: what is larger was never initialised.
const MOST: usize = 4096;

/// A structure that begins with `struct_size: u32`.
///
/// # Safety
/// The type is `repr(C)` and begins with a `u32`, and any bytes are a value of it: its members are integers, floats, pointers and
/// structures of such.
pub unsafe trait SizedStruct: Copy {
    /// Size of the structure in the first release of this binary interface: once members are appended, the offset of the first
    /// of them.
    const LEAST: usize;
}

/// Reads a structure that the caller set.
///
/// # Safety
/// `from` is NULL or points to a structure whose first member is its size.
pub unsafe fn read<T: SizedStruct>(from: *const T, argument: &'static str) -> Result<T, Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_struct(from, argument)? };
    let known = size.min(size_of::<T>());
    // SAFETY: the structure has `size` bytes, which the caller has set.
    let unknown = unsafe { slice::from_raw_parts(from.cast::<u8>().add(known), size - known) };
    if let Some(offset) = unknown.iter().position(|&byte| byte != 0) {
        return Err(Failure::UnknownMember { argument, offset: known + offset });
    }
    let mut structure = MaybeUninit::<T>::zeroed();
    // SAFETY: both have `known` bytes; whatever they are is a `T`, as the trait says.
    unsafe {
        ptr::copy_nonoverlapping(from.cast::<u8>(), structure.as_mut_ptr().cast::<u8>(), known);
        Ok(structure.assume_init())
    }
}

/// Checks a structure that is to be filled, and returns its size.
///
/// # Safety
/// `to` is NULL or points to a structure whose first member is its size.
pub unsafe fn check<T: SizedStruct>(to: *const T, argument: &'static str) -> Result<usize, Failure> {
    // SAFETY: the caller's promise.
    unsafe { size_of_struct(to, argument) }
}

/// Fills a structure of the caller's: as many members as it has. Its size stays; members that this library does not know are 0.
///
/// # Safety
/// `to` points to a writable structure of `size` bytes, which [`check`] returned.
pub unsafe fn write<T: SizedStruct>(to: *mut T, size: usize, structure: &T) {
    const HEAD: usize = size_of::<u32>();
    let (to, from) = (to.cast::<u8>(), ptr::from_ref(structure).cast::<u8>());
    let known = size.min(size_of::<T>());
    // SAFETY: `to` has `size` bytes and `from` at least `known` of them.
    unsafe {
        ptr::copy_nonoverlapping(from.add(HEAD), to.add(HEAD), known - HEAD);
        ptr::write_bytes(to.add(known), 0, size - known);
    }
}

/// Checks an array of structures, which all have the size that the first begins with, and returns that size.
///
/// # Safety
/// `array` is NULL or has `count` structures of that size, at least 1.
pub unsafe fn check_array<T: SizedStruct>(
    array: *const T,
    count: usize,
    argument: &'static str,
) -> Result<usize, Failure> {
    // SAFETY: the caller's promise: there is a first structure.
    let size = unsafe { size_of_struct(array, argument)? };
    for index in 1..count {
        // SAFETY: the caller's promise: there are `count` structures of that size.
        let found = unsafe { size_of_struct(element(array, index, size), argument)? };
        if found != size {
            return Err(Failure::Element { argument, index, found, expected: size });
        }
    }
    Ok(size)
}

/// Returns the pointer to an element of an array of structures of that size.
pub const fn element<T: SizedStruct>(array: *const T, index: usize, size: usize) -> *const T {
    array.wrapping_byte_add(index * size)
}

/// Reads and checks the size that a structure begins with.
///
/// # Safety
/// `structure` is NULL or points to a structure whose first member is its size.
unsafe fn size_of_struct<T: SizedStruct>(structure: *const T, argument: &'static str) -> Result<usize, Failure> {
    if structure.is_null() {
        return Err(Failure::Null { argument, expected: "a structure" });
    }
    // SAFETY: the structure begins with a `u32`, as the trait says.
    let found = unsafe { structure.cast::<u32>().read() } as usize;
    match (T::LEAST..=MOST).contains(&found) {
        true => Ok(found),
        false => Err(Failure::StructSize { argument, found, least: T::LEAST, most: MOST }),
    }
}
