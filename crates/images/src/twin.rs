//! The in-memory twins: images that exist by decree, for tests, and every image there could be, for virtual nodes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::name::{normal, parse};
use crate::{Image, ImageError, Images, RegistryAuth};

/// Images that exist by decree; "pulling" succeeds for names that were offered.
#[derive(Default, Debug)]
pub struct MemoryImages {
    here: Mutex<BTreeMap<String, Image>>,
    offered: Mutex<BTreeMap<String, Image>>,
}

impl MemoryImages {
    /// Puts an image here.
    ///
    /// # Errors
    /// If the name is none.
    pub fn put(&self, name: &str, image: Image) -> Result<(), ImageError> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).insert(normal(&parse(name)?), image);
        Ok(())
    }

    /// Offers an image to be pulled.
    ///
    /// # Errors
    /// If the name is none.
    pub fn offer(&self, name: &str, image: Image) -> Result<(), ImageError> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner).insert(normal(&parse(name)?), image);
        Ok(())
    }
}

#[async_trait]
impl Images for MemoryImages {
    async fn find(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let name = normal(&parse(name)?);
        Ok(self.here.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned())
    }

    async fn pull(&self, name: &str, _: &BTreeMap<String, RegistryAuth>) -> Result<Image, ImageError> {
        let normal = normal(&parse(name)?);
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).get(&normal).cloned();
        let image = offered
            .ok_or_else(|| ImageError::Pull { name: name.to_owned(), why: "manifest unknown: not found".to_owned() })?;
        self.here.lock().unwrap_or_else(PoisonError::into_inner).insert(normal, image.clone());
        Ok(image)
    }

    async fn list(&self) -> Result<Vec<Image>, ImageError> {
        Ok(self.here.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect())
    }
}

/// Every image whose name can be read is here, and holds nothing but the name of a program and of a user.
#[derive(Clone, Copy, Default, Debug)]
pub struct EveryImage;

impl EveryImage {
    fn image(name: &str) -> Result<Image, ImageError> {
        let normal = normal(&parse(name)?);
        let digest: String = Sha256::digest(&normal).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Image {
            id: format!("sha256:{digest}"),
            names: vec![normal],
            // A pod may name no program and insist on not being root.
            entrypoint: vec!["/virtual".to_owned()],
            user: "65532".to_owned(),
            ..Image::default()
        })
    }
}

#[async_trait]
impl Images for EveryImage {
    async fn find(&self, name: &str) -> Result<Option<Image>, ImageError> {
        Self::image(name).map(Some)
    }

    async fn pull(&self, name: &str, _: &BTreeMap<String, RegistryAuth>) -> Result<Image, ImageError> {
        Self::image(name)
    }

    async fn list(&self) -> Result<Vec<Image>, ImageError> {
        Ok(Vec::new())
    }
}
