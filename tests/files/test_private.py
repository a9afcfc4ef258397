"""What is believed and what is not: each way in which another user, a real one, could change a folder or a file is refused."""

import os
import pwd
import stat

import pytest
from other_user import GAMES, NOBODY, needs_root, run_as

from bayestuner.errors import NotPrivate
from bayestuner.files.outputs import open_output, replace_file, replacing_file
from bayestuner.files.places import cache_folder
from bayestuner.files.private import PrivateFolder, why_unusable


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def any_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("any_umask")
def test_what_is_made_is_private_whatever_the_umask(tmp_path):
    with PrivateFolder.open(tmp_path / "a" / "b", make=True) as folder:
        os.close(folder.open_file("new", os.O_RDWR | os.O_CREAT))
        folder.replace("whole", b"x")
        folder.secret()
        assert [mode_of(folder.path / name) for name in folder.names()] == [0o600] * 3
    assert [mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")] == [0o700] * 2


def test_it_is_reached_through_the_descriptor_though_its_name_is_swapped(tmp_path):
    with PrivateFolder.open(tmp_path / "mine", make=True) as folder:
        (tmp_path / "mine").rename(tmp_path / "away")
        (tmp_path / "mine").mkdir()
        folder.replace("file", b"kept")
        assert folder.read("file") == b"kept"
    assert (tmp_path / "away" / "file").read_bytes() == b"kept"


def open_to_others(path, mode):
    """Set the rights of what belongs to a group that root, and the user who runs this, are not alone in."""
    if os.geteuid() == 0:
        os.chown(path, -1, pwd.getpwuid(GAMES).pw_gid)
    path.chmod(mode)


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
@pytest.mark.parametrize("which", ["parent", "folder"])
def test_a_folder_that_others_may_write_is_refused_wherever_it_stands(tmp_path, which, mode):
    folder = tmp_path / "parent" / "folder"
    folder.mkdir(parents=True)
    open_to_others(tmp_path / "parent" if which == "parent" else folder, mode)
    if which == "parent" and mode & stat.S_ISVTX:
        PrivateFolder.open(folder).close()  # as /tmp: others can't move what is ours in it
        return
    with pytest.raises(NotPrivate, match=rf"{which} can be written by others, .*: run chmod go-w /.*{which}$"):
        PrivateFolder.open(folder)
    assert why_unusable(folder) is not None
    if not mode & stat.S_ISVTX:
        assert "can be written by others" in why_unusable(folder / "not" / "yet")


@needs_root
def test_a_folder_of_another_user_is_refused_on_the_path_and_as_the_last(tmp_path):
    folder = tmp_path / "hers" / "mine"
    folder.mkdir(parents=True)
    os.chown(tmp_path / "hers", GAMES, GAMES)
    for path in (folder, tmp_path / "hers"):
        with pytest.raises(NotPrivate, match="hers is not a folder of this user but belongs to user games"):
            PrivateFolder.open(path)
    assert not (tmp_path / "hers" / "new").exists()


@needs_root
def test_the_caller_of_sudo_may_own_the_way_to_a_study_but_nothing_that_is_run(tmp_path, monkeypatch):
    (tmp_path / "home" / "cache").mkdir(parents=True)
    os.chown(tmp_path / "home", GAMES, GAMES)
    monkeypatch.setenv("SUDO_UID", str(GAMES))
    PrivateFolder.open(tmp_path / "home" / "x.study", make=True, trust_sudo_caller=True).close()
    with pytest.raises(NotPrivate):
        PrivateFolder.open(tmp_path / "home" / "cache")
    os.chown(tmp_path / "home" / "cache", GAMES, GAMES)
    with pytest.raises(NotPrivate, match="cache is not a folder of this user"):  # what she made herself is hers all the same
        PrivateFolder.open(tmp_path / "home" / "cache", trust_sudo_caller=True)


def test_links_of_ours_on_the_way_are_walked_and_checked_too(tmp_path):
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/../real")
    with PrivateFolder.open(tmp_path / "link" / "below" / ".." / "below") as folder:
        assert folder.path == (tmp_path / "real" / "below").resolve()
    (tmp_path / "real").chmod(0o777)
    with pytest.raises(NotPrivate, match="real can be written by others"):
        PrivateFolder.open(tmp_path / "link" / "below")


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(NotPrivate, match="link is a link, not a folder of this user"):
        PrivateFolder.open(tmp_path / "link")


def test_links_that_lead_nowhere_or_round_are_errors_not_loops(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        PrivateFolder.open(tmp_path / "a" / "x")


@needs_root
def test_a_link_of_hers_in_a_sticky_folder_is_not_followed(shared):
    run_as(GAMES, "os.symlink('/root', sys.argv[1])", shared / "link")
    with pytest.raises(NotPrivate, match="link is a link of user games"):
        PrivateFolder.open(shared / "link" / "x")


def plant_link(path):
    path.symlink_to("/etc/hostname")


def plant_hard_link(path):
    (path.parent.parent / "other").write_text("precious")
    path.hardlink_to(path.parent.parent / "other")


def plant_writable(path):
    path.write_text("x")
    open_to_others(path, 0o664 if os.geteuid() == 0 else 0o666)


def plant_of_another(path):
    path.write_text("x")
    os.chown(path, GAMES, GAMES)


FILES = {
    "a link": plant_link,
    "a hard link": plant_hard_link,
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "writable by others": plant_writable,
    "another's": pytest.param(plant_of_another, marks=needs_root),
}


@pytest.mark.parametrize("plant", FILES.values(), ids=FILES)
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT | os.O_TRUNC])
def test_a_file_that_others_could_have_changed_is_refused_and_not_emptied(tmp_path, plant, flags):
    with PrivateFolder.open(tmp_path / "mine", make=True) as folder:
        plant(folder.path / "file")
        with pytest.raises(NotPrivate, match="file "):
            folder.open_file("file", flags)
        with pytest.raises(NotPrivate, match="file "):
            folder.check("file")
    assert not (tmp_path / "other").exists() or (tmp_path / "other").read_text() == "precious"


def test_a_file_larger_than_asked_for_is_not_read(tmp_path):
    with PrivateFolder.open(tmp_path) as folder:
        folder.replace("file", b"12345")
        assert folder.read("file", 5) == b"12345"
        with pytest.raises(OSError, match="larger than 4 bytes"):
            folder.read("file", 4)


def test_an_error_while_writing_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    with PrivateFolder.open(tmp_path) as folder:
        folder.replace("file", b"old")
        with pytest.raises(ZeroDivisionError), folder.replacing("file") as file:
            file.write(b"new")
            raise ZeroDivisionError
        assert (folder.names(), folder.read("file")) == (["file"], b"old")


def test_the_secret_stays_and_one_that_others_could_read_is_changed(tmp_path):
    with PrivateFolder.open(tmp_path) as folder:
        first = folder.secret()
        assert len(first) == 32
        assert folder.secret() == first
        (tmp_path / "secret").chmod(0o644)
        second = folder.secret()
        assert second != first
        assert mode_of(tmp_path / "secret") == 0o600
        (tmp_path / "secret").write_bytes(b"short")
        assert len(folder.secret()) == 32


def test_why_a_folder_is_unusable_is_said_before_it_is_made(tmp_path):
    assert why_unusable(tmp_path / "a" / "b") is None
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    assert "can't be opened" in why_unusable(tmp_path / "file" / "below")


@needs_root
def test_an_ordinary_user_is_told_where_she_may_not_write(shared):
    code = "from bayestuner.files.private import why_unusable\nprint(why_unusable('/var/lib/x')); print(why_unusable(sys.argv[1]))"
    assert run_as(NOBODY, code, shared / "new") == "/var/lib can't be written\nNone"


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"BAYESTUNER_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own/zoo"),
        ({"XDG_CACHE_HOME": "/xdg", "HOME": "/h"}, "/xdg/bayestuner/zoo"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/bayestuner/zoo"),
        ({"HOME": "relative"}, None),
        ({"HOME": "/"}, None),
    ],
)
def test_where_a_cache_lies(monkeypatch, variables, folder):
    for name in ("BAYESTUNER_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if folder is None:
        with pytest.raises(NotPrivate, match="no home folder"):
            cache_folder("zoo")
    else:
        assert str(cache_folder("zoo")) == folder


@pytest.mark.parametrize("home", [None, ""])
def test_without_a_home_the_user_database_is_asked_and_never_the_root_folder_taken(monkeypatch, home):
    monkeypatch.delenv("BAYESTUNER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", lambda _: type("Entry", (), {"pw_dir": "/homes/me"}))
    assert str(cache_folder("zoo")) == "/homes/me/.cache/bayestuner/zoo"
    monkeypatch.setattr("pwd.getpwuid", lambda _: type("Entry", (), {"pw_dir": "/"}))
    with pytest.raises(NotPrivate):
        cache_folder("zoo")


def test_an_output_follows_no_link_and_replaces_no_device(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link.csv").symlink_to("precious")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("link.csv", "pipe.csv"):
        with pytest.raises(OSError, match="no regular file"):
            replace_file(tmp_path / name, b"x")
        with pytest.raises(OSError, match="no regular file"):
            open_output(tmp_path / name, os.O_WRONLY | os.O_APPEND)
    (tmp_path / "second.csv").hardlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="hard link"):
        open_output(tmp_path / "second.csv", os.O_WRONLY | os.O_APPEND)
    replace_file(tmp_path / "second.csv", b"new")  # the name is given to another file; the first keeps its content
    assert (tmp_path / "precious").read_text() == "precious"


def test_an_output_is_whole_or_as_before_and_others_may_not_write_it(tmp_path, any_umask):
    replace_file(tmp_path / "table.csv", b"old")
    assert mode_of(tmp_path / "table.csv") == 0o644
    (tmp_path / "table.csv").chmod(0o600)
    replace_file(tmp_path / "table.csv", b"two")
    assert mode_of(tmp_path / "table.csv") == 0o600
    with pytest.raises(ZeroDivisionError), replacing_file(tmp_path / "table.csv") as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_bytes() == b"two"
