"""The counter reads of the extension: stand-in files where no such device exists, real kernel counters through perf's software events."""

import errno
import fcntl
import os
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PERF_TYPE_SOFTWARE, CPU_CLOCK = 1, 0
AMD_PACKAGE_ENERGY = 0xC001029B


@pytest.fixture
def native(binding):
    return binding


def open_msr(native, path):
    ffi, lib = native
    fd = ffi.new("int *")
    rc = lib.bt_msr_open(os.fsencode(path), fd)
    return rc, fd[0]


@pytest.fixture
def msr(native, tmp_path):
    """A sparse file that stands in for an MSR device at stride 8; gives its descriptor."""
    path = tmp_path / "msr"
    with path.open("wb") as file:
        for register, value in {0x606: 0xA0E03, 0x611: 2**32 - 1, AMD_PACKAGE_ENERGY: 2**63 + 5}.items():
            file.seek(register * 8)
            file.write(struct.pack("<Q", value))
    rc, fd = open_msr(native, path)
    assert rc == 0
    yield fd
    os.close(fd)


def read_msr(native, fd, register, stride=8):
    ffi, lib = native
    value = ffi.new("uint64_t *", 42)
    return lib.bt_msr_read(fd, register, stride, value), value[0]


@pytest.mark.parametrize(("register", "value"), [(0x606, 0xA0E03), (0x611, 2**32 - 1), (AMD_PACKAGE_ENERGY, 2**63 + 5)])
def test_registers_are_read_at_64_bit_offsets(native, msr, register, value):
    assert read_msr(native, msr, register) == (0, value)


def test_stride_1_addresses_bytes_as_the_device_does(native, msr):
    assert read_msr(native, msr, 0x606 * 8, stride=1) == (0, 0xA0E03)


def test_a_read_past_the_end_is_an_error_and_leaves_the_output_alone(native, msr):
    assert read_msr(native, msr, AMD_PACKAGE_ENERGY + 1) == (-errno.EIO, 42)


def test_a_short_read_is_an_error(native, msr):
    assert read_msr(native, msr, AMD_PACKAGE_ENERGY * 8 + 4, stride=1)[0] == -errno.EIO


@pytest.mark.parametrize(("register", "stride"), [(0x606, 0), (2**63, 1), (2**62, 8), (2**64 - 1, 2**32 - 1)])
def test_offsets_that_do_not_exist_are_refused(native, msr, register, stride):
    assert read_msr(native, msr, register, stride)[0] == -errno.EINVAL


def test_open_gives_the_errno_and_a_descriptor_that_children_do_not_get(native, tmp_path):
    assert open_msr(native, tmp_path / "absent")[0] == -errno.ENOENT
    (tmp_path / "there").write_bytes(b"12345678")
    rc, fd = open_msr(native, tmp_path / "there")
    assert rc == 0
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(fd)


def open_perf(native, kind, config, cpu):
    ffi, lib = native
    fd = ffi.new("int *")
    return lib.bt_perf_open(kind, config, cpu, fd), fd[0]


def test_perf_counts_of_the_real_kernel_grow(native):
    ffi, lib = native
    rc, fd = open_perf(native, PERF_TYPE_SOFTWARE, CPU_CLOCK, min(os.sched_getaffinity(0)))
    if rc in (-errno.EACCES, -errno.EPERM):
        pytest.skip("perf_event_paranoid forbids system-wide events here")
    assert rc == 0
    assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    value = ffi.new("uint64_t *")
    counts = []
    for _ in range(3):
        assert lib.bt_perf_read(fd, value) == 0
        counts.append(value[0])
        time.sleep(0.01)
    os.close(fd)
    assert counts[0] < counts[1] < counts[2]
    assert lib.bt_perf_read(fd, value) == -errno.EBADF


@pytest.mark.parametrize(("kind", "cpu", "expected"), [(999, 0, errno.ENOENT), (PERF_TYPE_SOFTWARE, 8191, errno.EINVAL)])
def test_perf_open_gives_the_errno(native, kind, cpu, expected):
    rc, _ = open_perf(native, kind, CPU_CLOCK, cpu)
    if rc in (-errno.EACCES, -errno.EPERM):
        pytest.skip("perf_event_paranoid forbids system-wide events here")
    assert rc in (-expected, -errno.ENODEV)


def read_text(native, text):
    ffi, lib = native
    fd = os.memfd_create("text")
    try:
        os.write(fd, text)
        value = ffi.new("uint64_t *", 42)
        return lib.bt_read_u64_text(fd, value), value[0]
    finally:
        os.close(fd)


@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 2**64 - 1), end=st.sampled_from([b"", b"\n"]))
def test_decimals_come_back(binding, number, end):
    assert read_text(binding, str(number).encode() + end) == (0, number)


@settings(max_examples=200, deadline=None)
@given(text=st.binary(max_size=100))
def test_any_bytes_are_a_number_or_an_error(binding, text):
    rc, value = read_text(binding, text)
    if rc == 0:
        assert int(text.partition(b"\n")[0]) == value
    else:
        assert rc in (-errno.EINVAL, -errno.ERANGE)
        assert value == 42


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", errno.EINVAL),
        (b"-1\n", errno.EINVAL),
        (b"12 uJ\n", errno.EINVAL),
        (b"\n12", errno.EINVAL),
        (b"18446744073709551616", errno.ERANGE),
    ],
)
def test_what_is_no_count_is_refused(native, text, expected):
    assert read_text(native, text) == (-expected, 42)


def test_a_kept_descriptor_reads_the_new_value(native, tmp_path):
    ffi, lib = native
    path = tmp_path / "energy_uj"
    path.write_text("1000\n")
    value = ffi.new("uint64_t *")
    with path.open("rb") as file:
        assert (lib.bt_read_u64_text(file.fileno(), value), value[0]) == (0, 1000)
        path.write_text("7\n")
        assert (lib.bt_read_u64_text(file.fileno(), value), value[0]) == (0, 7)


def test_read_all_reads_in_order_between_its_stamps(native, msr, tmp_path):
    ffi, lib = native
    (tmp_path / "energy_uj").write_text("262143328850\n")
    with (tmp_path / "energy_uj").open("rb") as file:
        sources = ffi.new(
            "struct bt_source[]",
            [(msr, lib.BT_SOURCE_MSR, 0x611 * 8), (file.fileno(), lib.BT_SOURCE_TEXT, 0), (msr, lib.BT_SOURCE_MSR, 0x606 * 8)],
        )
        before, after, failed = ffi.new("int64_t *"), ffi.new("int64_t *"), ffi.new("int *")
        values = ffi.new("uint64_t[3]")
        earlier = time.monotonic_ns()
        assert lib.bt_read_all(sources, 3, before, after, values, failed) == 0
        later = time.monotonic_ns()
    assert list(values) == [2**32 - 1, 262143328850, 0xA0E03]
    assert failed[0] == 3
    assert earlier <= before[0] < after[0] <= later


@pytest.mark.parametrize(("bad", "expected"), [((-1, 0, 0), errno.EBADF), ((0, 77, 0), errno.EINVAL), ((-1, 0, 2**63), errno.EINVAL)])
def test_read_all_names_the_source_that_failed(native, msr, bad, expected):
    ffi, lib = native
    sources = ffi.new("struct bt_source[]", [(msr, lib.BT_SOURCE_MSR, 0x606 * 8), bad, (msr, lib.BT_SOURCE_MSR, 0x606 * 8)])
    before, after, failed = ffi.new("int64_t *"), ffi.new("int64_t *"), ffi.new("int *")
    values = ffi.new("uint64_t[3]")
    assert lib.bt_read_all(sources, 3, before, after, values, failed) == -expected
    assert failed[0] == 1
    assert values[2] == 0


def test_the_interface_says_its_version(native):
    assert native[1].bt_abi_version() == 3
