//! Page of the live demo, where the command has one.

#[cfg(feature = "serve")]
pub use served::OpenPage;
#[cfg(not(feature = "serve"))]
pub use unserved::OpenPage;

#[cfg(feature = "serve")]
mod served {
    use crate::args::DemoArgs;
    use crate::error::CliError;
    use fieldfit::store::Store;
    use fieldfit_serve::{ServeError, Server, ServerOptions, Stopper};
    use std::panic::resume_unwind;
    use std::path::Path;
    use std::thread::{self, JoinHandle};

    /// Page that is served on a thread of its own.
    pub struct OpenPage {
        url: String,
        stopper: Stopper,
        serving: JoinHandle<Result<(), ServeError>>,
    }

    impl OpenPage {
        /// Serves the page of a store and a collection; `None` if this command has no page.
        pub fn open(args: &DemoArgs, store: &Path, collection: &Path) -> Result<Option<Self>, CliError> {
            let store = Store::open(store).map_err(fieldfit::Error::from)?;
            let options =
                ServerOptions::default().with_listen(args.listen).with_collection(Some(collection.to_owned()));
            let server = Server::bind(store, options)?;
            let (url, stopper) = (server.url(), server.stopper());
            Ok(Some(Self { url, stopper, serving: thread::spawn(|| server.run()) }))
        }

        /// Returns the page's address, with its token.
        pub fn url(&self) -> String {
            self.url.clone()
        }

        /// Ends the page.
        pub fn close(self) -> Result<(), CliError> {
            self.stopper.stop();
            Ok(self.serving.join().unwrap_or_else(|panic| resume_unwind(panic))?)
        }
    }
}

#[cfg(not(feature = "serve"))]
mod unserved {
    use crate::args::DemoArgs;
    use crate::error::CliError;
    use std::path::Path;

    /// Page that there is not: this command was built without the feature `serve`.
    pub enum OpenPage {}

    impl OpenPage {
        /// Serves the page of a store and a collection; `None` if this command has no page.
        pub const fn open(_: &DemoArgs, _: &Path, _: &Path) -> Result<Option<Self>, CliError> {
            Ok(None)
        }

        /// Returns the page's address, with its token.
        pub fn url(&self) -> String {
            match *self {}
        }

        /// Ends the page.
        pub fn close(self) -> Result<(), CliError> {
            match self {}
        }
    }
}
