//! Object carrier: a folder or a bucket, by the crate `object_store`.

use crate::{
    carrier::{Carrier, MAX_LISTED},
    error::CarrierError,
    key::{Digest, Folder, Key},
};
use futures_util::{StreamExt, TryStreamExt};
use object_store::{Error, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as Location};
use std::{
    fs,
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
        if self.folder.is_some() && !self.is_regular(&name) {
            return Ok(Vec::new());
        }
        let prefix = self.location(&name);
        let listed: Result<Vec<_>, Error> =
            self.runtime.block_on(self.objects.list(Some(&prefix)).take(MAX_LISTED + 1).try_collect());
        let listed = listed.map_err(|error| unavailable("list", &name, error))?;
        if listed.len() > MAX_LISTED {
            return Err(CarrierError::TooMany { folder: name, limit: MAX_LISTED });
        }
        let key = |location: &Location| {
            let parts: Vec<_> = location.prefix_match(&self.prefix)?.collect();
            let name = parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("/");
            Key::parse(&name).filter(|key| key.folder() == folder)
        };
        let mut keys: Vec<Key> = listed.iter().filter_map(|object| key(&object.location)).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
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
