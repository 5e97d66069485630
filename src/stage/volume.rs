//! A deployment's volume: where its agent keeps the store, and how the next deployment gets a copy.

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::stage::StageError;

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

/// Stands in for the store's own `clone_store` (an online backup) until the rooms are joined.
pub fn clone_store(from_dir: &Path, to_dir: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    for entry in std::fs::read_dir(from_dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to_dir.join(entry.file_name()))?;
        }
    }
    Ok(())
}
