//! Object carrier: a folder or a bucket, by the crate `object_store`.

use crate::{
    carrier::{Carrier, MAX_LISTED},
    error::CarrierError,
    key::{Digest, Folder, Key, STATUS},
};
use futures_util::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as Location};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};
use tokio::runtime::Runtime;

/// Carrier over a folder (a USB stick, a network drive, a folder that something else synchronises), or over a bucket.
#[derive(Debug)]
pub struct ObjectCarrier {
    objects: Box<dyn ObjectStore>,
    /// What every object's name begins with in the bucket.
    prefix: Location,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    runtime: Runtime,
}

impl ObjectCarrier {
    /// Returns the carrier over a folder, which must exist: a stick that is not mounted is no empty fleet.
    ///
    /// Files are written under another name, synced, and renamed.
    ///
    /// # Errors
    /// [`CarrierError::Url`] if the folder is missing.
    pub fn folder(path: &Path) -> Result<Self, CarrierError> {
        let url = path.to_string_lossy();
        let objects = LocalFileSystem::new_with_prefix(path).map_err(|error| unusable(&url, error))?.with_fsync(true);
        let folder = Some(path.to_owned());
        Ok(Self { objects: Box::new(objects), prefix: Location::default(), folder, runtime: runtime(&url)? })
    }

    /// Returns the carrier over a bucket, `s3://BUCKET/PREFIX`. Endpoint, region and credentials come from the environment, under
    /// the names of the AWS tools (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`; `AWS_ALLOW_HTTP`
    /// for an endpoint without TLS).
    ///
    /// # Errors
    /// [`CarrierError::Url`] if the address or the environment is invalid.
    #[cfg(feature = "s3")]
    pub fn bucket(address: &str) -> Result<Self, CarrierError> {
        use object_store::{BackoffConfig, ClientOptions, RetryConfig, aws::AmazonS3Builder};
        use std::time::Duration;

        let invalid = |reason: &str| CarrierError::Url { url: address.to_owned(), reason: reason.to_owned() };
        let url = url::Url::parse(address).map_err(|error| unusable(address, error))?;
        let bucket = url.host_str().ok_or_else(|| invalid("expected s3://BUCKET/PREFIX"))?;
        let prefix = Location::from_url_path(url.path()).map_err(|error| unusable(address, error))?;
        // A second call finds the first one's provider, which is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let backoff = BackoffConfig::default();
        let retry = RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(20) };
        let allows_http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true" || value == "1");
        let options = ClientOptions::new().with_allow_http(allows_http).with_timeout(Duration::from_secs(60));
        let objects = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_client_options(options)
            .build()
            .map_err(|error| unusable(address, error))?;
        Ok(Self { objects: Box::new(objects), prefix, folder: None, runtime: runtime(address)? })
    }

    fn location(&self, name: &str) -> Location {
        name.split('/').fold(self.prefix.clone(), |location, part| location.join(part))
    }

    /// Refuses links, pipes and devices in a folder, which a foreign stick may have: reading them could take for ever.
    fn is_regular(&self, name: &str) -> bool {
        let Some(folder) = &self.folder else { return true };
        name.split('/')
            .scan(folder.clone(), |path, part| {
                path.push(part);
                Some(fs::symlink_metadata(&*path))
            })
            .all(|found| found.is_ok_and(|found| found.is_file() || found.is_dir()))
    }
}

impl Carrier for ObjectCarrier {
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<(), CarrierError> {
        let name = key.to_string();
        let location = self.location(&name);
        let put = self.runtime.block_on(self.objects.put(&location, bytes.to_vec().into()));
        put.map(drop).map_err(|error| unavailable("store", &name, error))
    }

    fn get(&self, key: &Key, limit: usize) -> Result<Vec<Vec<u8>>, CarrierError> {
        let name = key.to_string();
        if !self.is_regular(&name) {
            return Ok(Vec::new());
        }
        let read = self.runtime.block_on(async {
            let found = self.objects.get(&self.location(&name)).await?;
            if found.meta.size > limit as u64 {
                return Ok(Err(found.meta.size));
            }
            let mut stream = found.into_stream();
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.try_next().await? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > limit {
                    return Ok(Err(bytes.len() as u64));
                }
            }
            Ok(Ok(bytes))
        });
        match read {
            Ok(Ok(bytes)) => Ok(vec![bytes]),
            Ok(Err(found)) => Err(CarrierError::TooLarge { key: name, found, limit }),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(unavailable("get", &name, error)),
        }
    }

    fn list(&self, base: &Digest, folder: Folder) -> Result<Vec<Key>, CarrierError> {
        let name = folder.path(base);
        let names = match &self.folder {
            Some(root) => names_in_folder(root, &name, folder),
            None => self.names_in_bucket(&name),
        };
        let names = names.map_err(|source| CarrierError::Unavailable { action: "list", key: name.clone(), source })?;
        if names.len() > MAX_LISTED {
            return Err(CarrierError::TooMany { folder: name, limit: MAX_LISTED });
        }
        let mut keys: Vec<Key> = names.iter().filter_map(|name| Key::parse(name)).collect();
        keys.retain(|key| key.folder() == folder);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

/// The system's or the engine's error of a listing.
type ListError = Box<dyn std::error::Error + Send + Sync>;

impl ObjectCarrier {
    /// Names below a prefix of the bucket, one more than are allowed at most.
    fn names_in_bucket(&self, name: &str) -> Result<Vec<String>, ListError> {
        let prefix = self.location(name);
        let listed = self.objects.list(Some(&prefix)).take(MAX_LISTED + 1);
        let listed: Vec<_> = self.runtime.block_on(listed.try_collect())?;
        let name = |location: &Location| {
            let parts: Vec<_> = location.prefix_match(&self.prefix)?.collect();
            Some(parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/"))
        };
        Ok(listed.iter().filter_map(|object| name(&object.location)).collect())
    }
}

/// Names of regular files in a folder below `root`, one more than are allowed at most; of robots, of the files in theirs.
///
/// Not by `object_store`: it follows links, and refuses a whole folder for one name that it would not write itself.
fn names_in_folder(root: &Path, name: &str, folder: Folder) -> Result<Vec<String>, ListError> {
    let mut names = Vec::new();
    for (entry, kind) in entries(&name.split('/').fold(root.to_owned(), |path, part| path.join(part)))? {
        match folder {
            Folder::Robots if kind.is_dir() => names.push(format!("{name}/{entry}/{STATUS}")),
            Folder::Deltas | Folder::Cards | Folder::Recalls if kind.is_file() => names.push(format!("{name}/{entry}")),
            Folder::Deltas | Folder::Cards | Folder::Recalls | Folder::Robots => {}
        }
    }
    Ok(names)
}

/// Names and types of what is in a folder that is no link, one more than are listed at most; none if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<(String, fs::FileType)>, ListError> {
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_LISTED + 1) {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.file_type()?));
        }
    }
    Ok(entries)
}

fn runtime(url: &str) -> Result<Runtime, CarrierError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| unusable(url, error))
}

fn unusable(url: &str, error: impl std::error::Error) -> CarrierError {
    CarrierError::Url { url: url.to_owned(), reason: error.to_string() }
}

fn unavailable(action: &'static str, key: &str, error: Error) -> CarrierError {
    CarrierError::Unavailable { action, key: key.to_owned(), source: Box::new(error) }
}
