"""The exception that ends the process."""

from pgswitch.errors.base import FatalError


def test_text_is_the_whole_message() -> None:
    """The text is kept as given, and is what the exception says."""
    error = FatalError("nowhere to listen on")
    assert error.text == str(error) == "nowhere to listen on"
