//! A deployment's volume: where its agent keeps the store, and how the next deployment gets a copy.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::stage::StageError;
use crate::store;

/// Copies the store in the first directory to the second, while an agent may be writing to it.
pub type CloneVolume = fn(&Path, &Path) -> Result<(), Box<dyn Error + Send + Sync>>;

/// Copies with `clone` off the runtime's own threads.
pub async fn copy(clone: CloneVolume, from: PathBuf, to: PathBuf) -> Result<(), StageError> {
    let (from_dir, to_dir) = (from.clone(), to.clone());
    let copied = tokio::task::spawn_blocking(move || clone(&from_dir, &to_dir)).await;
    match copied {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(StageError::CloneVolume { from, to, source }),
        Err(panic) => Err(StageError::CloneVolume { from, to, source: Box::new(panic) }),
    }
}

/// The store's own online backup. A volume on which no agent has written yet has nothing to copy.
pub fn clone_store(from_dir: &Path, to_dir: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    if !from_dir.join(store::DATABASE_FILE).exists() {
        return Ok(());
    }
    Ok(store::clone_store(from_dir, to_dir)?)
}
