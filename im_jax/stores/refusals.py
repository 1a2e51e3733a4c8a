"""What a user can do about an error of an object store's library."""

from typing import Final

from im_jax.errors import ConfigError, StorageError, UserError

_REASON_SHOWN: Final = 200
_LOG_IN: Final = {
    "gs": "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS=KEY.json",
    "s3": "aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "hf": "hf auth login",
}


def refusal(path: str, scheme: str, error: Exception) -> UserError:
    """The error in one line, with what to do.

    Args:
        path: what was asked for.
        scheme: of its store, such as `gs`.
        error: of the library.
    """
    reason = " ".join(str(error).split())[:_REASON_SHOWN] or type(error).__name__
    code = str(getattr(error, "code", ""))
    kind = f"{type(error).__module__}.{type(error).__name__}"
    if code == "401" or "Anonymous caller" in reason or ("auth" in kind and "Transport" not in kind):
        return ConfigError(f"{path} cannot be read without credentials ({reason}); log in: {_LOG_IN[scheme]}")
    if code == "403" or reason.startswith("Forbidden") or isinstance(error, PermissionError):
        right = (
            "roles/storage.objectViewer on the bucket" if scheme == "gs" else "the right to list and read it"
        )
        return ConfigError(f"{path} cannot be read: {reason}; give the account of this machine {right}")
    return StorageError(f"{path} cannot be read: {reason}; start again once the store can be reached")
