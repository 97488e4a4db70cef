"""``hub``: rows of a data set on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from guerdon.errors import DataError, GuerdonError, InfrastructureError, library_of
from guerdon_plugins.shared.rows import RowShape


class Hub:
    """Reads one split of a data set with ``datasets.load_dataset``; needs the extra ``train``.

    Args:
        path: The data set's name on the hub (``openai/gsm8k``), or a folder that ``load_dataset`` reads.
        name: The data set's configuration, if it has several.
        split: The data set's own split. The manifest's ``split`` of a data entry divides it further.
        revision: A branch, tag or commit; name a commit for a reproducible run.
        streaming: Whether to stream the rows, without a download of the whole data set.
        columns: New names for columns: ``{prompt: question, reference: reward_model.ground_truth}`` reads the column
            ``question`` as ``prompt``, and a key of the column ``reward_model`` as ``reference``. Other columns keep
            their names.
        template: The prompt's text, with columns in braces: ``"Question: {prompt}"``. Of a conversation, it replaces
            the last message, which must be the user's.
        system: A system message before the prompt, which makes the prompt a conversation.
        chat: Whether the prompt becomes a conversation's user message, for models with a chat template.

    Raises:
        MissingDependencyError: The package ``datasets`` is not installed.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        split: str = "train",
        revision: str | None = None,
        streaming: bool = False,
        columns: Mapping[str, str] | None = None,
        template: str | None = None,
        system: str | None = None,
        chat: bool = False,
    ) -> None:
        with library_of("source 'hub'", extra="train"):
            import datasets  # noqa: F401
        self._arguments = {
            "path": path,
            "name": name,
            "split": split,
            "revision": revision,
            "streaming": streaming,
        }
        self._shape = RowShape(columns or {}, template, system, chat)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import datasets

        path = self._arguments["path"]
        try:
            rows = datasets.load_dataset(**self._arguments)
            for number, record in enumerate(rows):
                yield self._shape(record, f"hub data set '{path}', row {number}")
        except GuerdonError:
            raise
        except (ConnectionError, TimeoutError) as error:
            raise InfrastructureError(
                f"the hub does not answer for the data set '{path}': {error}"
            ) from error
        except Exception as error:  # reading raises the errors of many format readers
            reason = str(error.__cause__ or error).strip() or repr(error)
            raise DataError(f"the hub data set '{path}' cannot be read: {reason.splitlines()[0]}") from error
