//! Carriers by their addresses.

use fieldfit_fleet::{Carrier, CarrierError};
use std::path::Path;

/// Opens the carrier at an address.
pub fn open(address: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    match address.split_once(':') {
        Some(("zenoh", router)) => client(router.trim_start_matches("//")),
        Some(("zenoh-peer", addresses)) => peer(addresses.trim_start_matches("//")),
        Some(("s3", _)) => bucket(address),
        Some(("file", path)) => folder(path.trim_start_matches("//")),
        Some((scheme, rest)) if rest.starts_with("//") => {
            let reason = format!("no engine for `{scheme}`: expected a folder, s3://, zenoh: or zenoh-peer:");
            Err(CarrierError::Url { url: address.to_owned(), reason })
        }
        _ => folder(address),
    }
}

#[cfg(feature = "objects")]
fn folder(path: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    Ok(Box::new(fieldfit_fleet::ObjectCarrier::folder(Path::new(path))?))
}

#[cfg(not(feature = "objects"))]
fn folder(path: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    let _ = Path::new(path);
    Err(missing(path, "objects"))
}

#[cfg(feature = "s3")]
fn bucket(address: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    Ok(Box::new(fieldfit_fleet::ObjectCarrier::bucket(address)?))
}

#[cfg(not(feature = "s3"))]
fn bucket(address: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    Err(missing(address, "s3"))
}

#[cfg(feature = "zenoh")]
fn client(router: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    Ok(Box::new(fieldfit_fleet::ZenohCarrier::client(router)?))
}

#[cfg(feature = "zenoh")]
fn peer(addresses: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    let mut addresses = addresses.split(',');
    let listen = addresses.next().unwrap_or_default();
    Ok(Box::new(fieldfit_fleet::ZenohCarrier::peer(listen, &addresses.collect::<Vec<_>>())?))
}

#[cfg(not(feature = "zenoh"))]
fn client(router: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    Err(missing(router, "zenoh"))
}

#[cfg(not(feature = "zenoh"))]
fn peer(addresses: &str) -> Result<Box<dyn Carrier>, CarrierError> {
    Err(missing(addresses, "zenoh"))
}

#[cfg(not(all(feature = "objects", feature = "s3", feature = "zenoh")))]
fn missing(address: &str, feature: &str) -> CarrierError {
    let reason = format!("this build has no `{feature}`: build with --features {feature}");
    CarrierError::Url { url: address.to_owned(), reason }
}
