"""URLs as a person may see them."""


def without_password(url: str) -> str:
    """Return *url* with what stands before an ``@`` of its authority left out: it may be a password.

    Also of what is no URL, or has a slash within the password: everything up to the last ``@`` goes.
    """
    scheme, slashes, rest = url.partition("//")
    if "@" not in rest:
        return url
    return f"{scheme}{slashes}…@{rest.rpartition('@')[2]}"
