import huggingface_hub
import pytest

from unic.errors import InputError
from unic.exporting.hub import push_folder


def test_a_folder_is_uploaded_to_a_private_repository(tmp_path, monkeypatch):
    calls = []

    class Api:
        def create_repo(self, name, **options):
            calls.append((name, options))

        def upload_folder(self, **options):
            calls.append(options)
            return "https://hub/me/mine"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert push_folder(tmp_path, "me/mine") == "https://hub/me/mine"
    assert calls[0] == ("me/mine", {"private": True, "exist_ok": True})
    assert calls[1]["folder_path"] == tmp_path


def test_a_refusal_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="expected ORG/NAME"):
        push_folder(tmp_path, "mine")

    class Api:
        def create_repo(self, name, **options):
            raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(InputError, match=r"\(no network\)"):
        push_folder(tmp_path, "me/mine")
