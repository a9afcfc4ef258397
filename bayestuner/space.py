"""The finite grid that is searched: its knobs, and the three forms of one of its configurations.

``row``
    index into the grid (int);
``config``
    knob name -> value (dict);
``codes``
    position of each value in its knob's list of values, (d,) ints. The unit coordinates ``x`` follow from them by `Knob.coordinates`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidSpace
from bayestuner.trial import Config

MoreIs = Literal["safer", "riskier"]
MAX_LEVELS = 100_000  # of one knob
MAX_VALUE = 1e300  # of a number, so that differences of values are doubles
MAX_ROWS = 2**63 - 1  # of a product grid: its rows are numbered by 64-bit integers
MAX_WHERE = 20_000_000  # rows that a `where` is asked about, one call each

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


class Knob:
    """One knob: a name and the finite list of values it can take. Use `Integer`, `Ordinal` or `Categorical`.

    Attributes
    ----------
    name : str
    values : tuple
        In order; a value's ``code`` is its position.
    more_is : {"safer", "riskier"} or None
        What a larger value does to the risk that a run fails, where the user knows it (more memory is safer). A failure then rules out
        every configuration that is at least as risky; the hint is dropped when a result contradicts it.
    hungry_for : str or None
        The knob that limits what a larger value eats more of, where the user knows it (a larger batch eats memory). A run killed for
        memory then rules out every configuration with no more memory and no less hunger, whatever the other knobs; such a hint too is
        dropped when a result contradicts it.
    """

    kind: ClassVar[str] = ""
    __slots__ = ("_code", "hungry_for", "more_is", "name", "values")

    def __init__(self, name: str, values: Iterable[Any], more_is: MoreIs | None = None, hungry_for: str | None = None) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise InvalidSpace(f"a knob's name is a word of letters, digits and underscores, not {name!r}")
        if more_is not in (None, "safer", "riskier"):
            raise InvalidSpace(f"knob {name!r}: more_is is 'safer', 'riskier' or None, not {more_is!r}")
        self.name = name
        self.values: tuple[Any, ...] = tuple(v.item() if isinstance(v, np.generic) else v for v in _few_enough(name, values))
        if hungry_for is not None and (not isinstance(hungry_for, str) or hungry_for == name):
            raise InvalidSpace(
                f"knob {name!r}: hungry_for is the name of another knob, which limits what this one eats, not {hungry_for!r}"
            )
        self.more_is: MoreIs | None = more_is
        self.hungry_for: str | None = hungry_for
        if not self.values:
            raise InvalidSpace(f"knob {name!r} has no values; give it at least one")
        for value in self.values:
            if not isinstance(value, (bool, int, float, str)):
                raise InvalidSpace(f"knob {name!r}: a value is a number, a text or a boolean, not {value!r}")
            if not isinstance(value, str) and not abs(value) <= MAX_VALUE:
                given = repr(value) if isinstance(value, float) else "a whole number beyond 1e300"
                raise InvalidSpace(f"knob {name!r} has the value {given}; values must be finite, and at most 1e300")
        self._code: dict[Any, int] = {value: code for code, value in enumerate(self.values)}
        if len(self._code) != len(self.values):
            twice = next(v for i, v in enumerate(self.values) if v in self.values[:i])
            raise InvalidSpace(f"knob {name!r} has the value {twice!r} twice")

    def __len__(self) -> int:
        return len(self.values)

    def code(self, value: Any) -> int:
        """Position of `value` in this knob's list."""
        try:
            return self._code[value]
        except (KeyError, TypeError):
            raise InvalidSpace(f"knob {self.name!r} can't be {value!r}; it takes {self.describe()}") from None

    @property
    def numeric(self) -> bool:
        """True where the values are numbers in rising order, so that distances between them mean something."""
        return False

    def coordinates(self) -> FloatArray:
        """Unit coordinate of each value, (len(self),): scaled to [0, 1] by value, or by rank where values are no numbers."""
        if self.numeric and len(self) > 1:
            v = np.asarray(self.values, dtype=np.float64)
            unit: FloatArray = (v - v[0]) / (v[-1] - v[0])
            return unit
        return np.arange(len(self), dtype=np.float64) / max(len(self) - 1, 1)

    def describe(self) -> str:
        """The values in short form, for messages."""
        if len(self) <= 8:
            return "one of " + ", ".join(map(repr, self.values))
        return f"one of {self.values[0]!r}, {self.values[1]!r}, ..., {self.values[-1]!r} ({len(self)} values)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Knob):
            return NotImplemented
        return type(self) is type(other) and self._described == other._described

    def __hash__(self) -> int:
        return hash((type(self).__name__, *self._described))

    @property
    def _described(self) -> tuple[Any, ...]:
        return self.name, self.values, self.more_is, self.hungry_for

    def __repr__(self) -> str:
        hint = "".join(f", {what}={given!r}" for what in ("more_is", "hungry_for") if (given := getattr(self, what)))
        return f"{type(self).__name__}({self.name!r}, {list(self.values)!r}{hint})"


class Integer(Knob):
    """Whole numbers ``low, low + step, ..., <= high``."""

    kind = "integer"
    __slots__ = ()

    def __init__(
        self, name: str, low: int, high: int, step: int = 1, *, more_is: MoreIs | None = None, hungry_for: str | None = None
    ) -> None:
        for what, given in (("low", low), ("high", high), ("step", step)):
            if isinstance(given, (bool, np.bool_)) or not isinstance(given, (int, np.integer)):
                raise InvalidSpace(f"knob {name!r}: {what} is a whole number, not {given!r}")
        if step < 1:
            raise InvalidSpace(f"knob {name!r}: step is at least 1, not {step}")
        if high < low:
            raise InvalidSpace(f"knob {name!r} is empty: its low, {low}, is above its high, {high}")
        _check_count(name, (int(high) - int(low)) // int(step) + 1)
        super().__init__(name, range(int(low), int(high) + 1, int(step)), more_is, hungry_for)

    @property
    def numeric(self) -> bool:
        """True where the values are numbers."""
        return True


class Ordinal(Knob):
    """Values with an order: numbers in rising order, or labels from least to most."""

    kind = "ordinal"
    __slots__ = ()

    def __init__(self, name: str, values: Iterable[Any], *, more_is: MoreIs | None = None, hungry_for: str | None = None) -> None:
        super().__init__(name, values, more_is, hungry_for)
        if self._all_numbers() and any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            given = list(self.values)
            raise InvalidSpace(f"knob {name!r}: an ordinal's numbers stand in rising order, not as {given!r}; or use Categorical")

    def _all_numbers(self) -> bool:
        return all(isinstance(v, (int, float, np.integer, np.floating)) and not isinstance(v, bool) for v in self.values)

    @property
    def numeric(self) -> bool:
        """True where the values are numbers."""
        return self._all_numbers()


class Categorical(Knob):
    """Values without an order; the order they are listed in changes nothing."""

    kind = "categorical"
    __slots__ = ()

    def __init__(self, name: str, values: Iterable[Any]) -> None:
        super().__init__(name, values)


class Space:
    """A finite grid of configurations.

    Parameters
    ----------
    *knobs : Knob
    where : callable, optional
        ``where(config) -> bool``; configurations for which it is false are never suggested.

    Examples
    --------
    >>> space = Space(Integer("cores", 1, 4), Ordinal("batch_size", [1, 2, 4]), where=lambda c: c["batch_size"] <= c["cores"])
    >>> len(space), space.n_rows
    (8, 12)
    >>> space.config(4)
    {'cores': 2, 'batch_size': 2}
    """

    def __init__(self, *knobs: Knob, where: Callable[[Config], bool] | None = None) -> None:
        self._describe(knobs)
        self._number_rows(where)

    def _describe(self, knobs: tuple[Knob, ...]) -> None:
        """Set up what spaces of every form have."""
        self.knobs = self._check_knobs(knobs)
        self.shape: tuple[int, ...] = tuple(len(k) for k in self.knobs)
        self.n_rows: int = math.prod(self.shape)
        self.table: npt.NDArray[np.int32] | None = None
        self.allowed: npt.NDArray[np.bool_] | None = None
        self._row_of: dict[bytes, int] | None = None
        self.numeric_names = frozenset(k.name for k in self.knobs if k.numeric)

    def _number_rows(self, where: Callable[[Config], bool] | None) -> None:
        """Set up what rows of a product grid need: the strides of their numbers, and which of them `where` allows."""
        if self.n_rows > MAX_ROWS:
            raise InvalidSpace(
                f"{len(self.shape)} knobs span more than 2^63 configurations, too many to number; give fewer knobs or values, or list the "
                "configurations with Space.from_rows"
            )
        if where is not None and self.n_rows > MAX_WHERE:
            raise InvalidSpace(
                f"where(config) would be called for each of {self.n_rows} configurations; at most {MAX_WHERE} can be looked at so: "
                "give fewer values, or list the allowed configurations with Space.from_rows"
            )
        self._sizes = np.array(self.shape, dtype=np.int64)
        self._strides = np.array([math.prod(self.shape[d + 1 :]) for d in range(len(self.shape))], dtype=np.int64)
        if where is not None:
            self.allowed = self._mask(where)

    @classmethod
    def from_rows(cls, knobs: Sequence[Knob], rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> Space:
        """Make a space of exactly these configurations; ``row`` is then the position in `rows`.

        Parameters
        ----------
        knobs : sequence of Knob
        rows : iterable of dict, or of sequences in the order of `knobs`
        """
        for what, given, kind in (("knobs", knobs, Sequence), ("rows", rows, Iterable)):
            if not isinstance(given, kind) or isinstance(given, (str, bytes)):
                raise InvalidSpace(f"from_rows takes a list of knobs and rows, each a dict or a list of values; its {what} are {given!r}")
        space = cls.__new__(cls)
        space._describe(tuple(knobs))
        codes = [space._codes_of(given) for given in rows]
        if not codes:
            raise InvalidSpace("from_rows was given no rows; a space needs at least one configuration")
        space.table = np.ascontiguousarray(np.array(codes, dtype=np.int32))
        space.n_rows = len(codes)
        space._row_of = {key.tobytes(): row for row, key in enumerate(space.table)}
        if len(space._row_of) != len(codes):
            seen: dict[tuple[int, ...], int] = {}
            for row, key in enumerate(codes):
                if key in seen:
                    raise InvalidSpace(f"rows {seen[key]} and {row} are the same configuration, {space.config(row)}; list each once")
                seen[key] = row
        return space

    @staticmethod
    def _check_knobs(knobs: tuple[Knob, ...]) -> tuple[Knob, ...]:
        if not knobs:
            raise InvalidSpace("a space needs at least one knob")
        for knob in knobs:
            if not isinstance(knob, Knob):
                raise InvalidSpace(f"a space is made of Integer, Ordinal and Categorical knobs, not {knob!r}")
        names = [k.name for k in knobs]
        for name in names:
            if names.count(name) > 1:
                raise InvalidSpace(f"two knobs are called {name!r}; names must differ")
        for knob in knobs:
            if knob.hungry_for is not None and not any(k.name == knob.hungry_for and not isinstance(k, Categorical) for k in knobs):
                raise InvalidSpace(f"knob {knob.name!r} is hungry for {knob.hungry_for!r}, which is no ordered knob of this space")
        return tuple(knobs)

    def _mask(self, where: Callable[[Config], bool]) -> npt.NDArray[np.bool_]:
        allowed = np.empty(self.n_rows, dtype=np.bool_)
        for row in range(self.n_rows):
            config = self.config(row)
            try:
                allowed[row] = bool(where(config))
            except Exception as error:
                raise InvalidSpace(f"where(config) failed for {config}: {type(error).__name__}: {error}") from error
        if not allowed.any():
            raise InvalidSpace("where(config) is false for every configuration; nothing is left to search")
        return allowed

    @property
    def names(self) -> tuple[str, ...]:
        """The knobs' names, in order."""
        return tuple(k.name for k in self.knobs)

    def __len__(self) -> int:
        """Number of allowed configurations."""
        return self.n_rows if self.allowed is None else int(self.allowed.sum())

    def __iter__(self) -> Iterator[Config]:
        """Every allowed configuration, in row order."""
        return (self.config(row) for row in range(self.n_rows) if self.is_allowed(row))

    def is_allowed(self, row: int) -> bool:
        """True where `row` is in the grid and `where` doesn't forbid it."""
        return 0 <= row < self.n_rows and (self.allowed is None or bool(self.allowed[row]))

    def codes(self, rows: npt.ArrayLike) -> IntArray:
        """Codes of the given rows.

        Parameters
        ----------
        rows : array_like of int, (m,)

        Returns
        -------
        ndarray of int64, (m, d)
        """
        index = np.asarray(rows, dtype=np.int64)
        if self.table is not None:
            return self.table[index].astype(np.int64)
        if index.size and not 0 <= int(index.min()) <= int(index.max()) < self.n_rows:
            raise InvalidSpace(f"a row of this space is from 0 to {self.n_rows - 1}; given were {int(index.min())} to {int(index.max())}")
        return np.asarray(index[..., None] // self._strides % self._sizes)

    def config(self, row: int) -> Config:
        """The configuration of a row."""
        if not 0 <= row < self.n_rows:
            raise InvalidSpace(f"row {row} is not in this space; its rows are 0 to {self.n_rows - 1}")
        codes: list[int] = []
        if self.table is not None:
            codes = [int(c) for c in self.table[row]]
        else:
            rest = int(row)
            for size in reversed(self.shape):
                rest, code = divmod(rest, size)
                codes.append(code)
            codes.reverse()
        return {knob.name: knob.values[code] for knob, code in zip(self.knobs, codes, strict=True)}

    def row(self, config: Mapping[str, Any]) -> int:
        """The row of a configuration; raises `InvalidSpace` where it isn't in the space."""
        row = self.find(self._codes_of(config))
        if row is not None:
            return row
        if self.table is not None:
            raise InvalidSpace(f"{dict(config)} is not among the {self.n_rows} listed rows of this space")
        raise InvalidSpace(f"{dict(config)} is forbidden by this space's where(config)")

    def find(self, codes: Sequence[int] | IntArray) -> int | None:
        """The row with these codes (d,), each within its knob's levels; None where it is not listed, or is forbidden."""
        if self._row_of is not None:
            return self._row_of.get(np.asarray(codes, dtype=np.int32).tobytes())
        row = 0
        for code, size in zip(codes, self.shape, strict=True):
            row = row * size + int(code)
        return row if self.is_allowed(row) else None

    def _codes_of(self, given: Mapping[str, Any] | Sequence[Any]) -> tuple[int, ...]:
        if isinstance(given, Mapping):
            missing = [n for n in self.names if n not in given]
            extra = [n for n in given if n not in self.names]
            if missing or extra:
                wrong = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has the unknown {', '.join(map(str, extra))}"] * bool(extra)
                raise InvalidSpace(f"the configuration {dict(given)} {' and '.join(wrong)}; the knobs are {', '.join(self.names)}")
            values: Sequence[Any] = [given[n] for n in self.names]
        else:
            if not isinstance(given, (Sequence, np.ndarray)) or isinstance(given, (str, bytes)):
                raise InvalidSpace(f"a row is a dict or a list of values of {', '.join(self.names)}, not {given!r}")
            values = given
            if len(values) != len(self.knobs):
                raise InvalidSpace(f"a row has {len(values)} values, but there are {len(self.knobs)} knobs: {', '.join(self.names)}")
        return tuple(knob.code(value) for knob, value in zip(self.knobs, values, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return self.knobs == other.knobs and _same_array(self.table, other.table) and _same_array(self.allowed, other.allowed)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        forbidden = f", {self.n_rows - len(self)} forbidden" if self.allowed is not None else ""
        listed = ", listed" if self.table is not None else ""
        return f"Space({', '.join(map(repr, self.names))}: {len(self)} configurations{forbidden}{listed})"


def _same_array(a: npt.NDArray[Any] | None, b: npt.NDArray[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.array_equal(a, b))


def _few_enough(name: str, values: Iterable[Any]) -> list[Any]:
    """The values as a list, without taking more of them than a knob may have."""
    if isinstance(values, Sized):
        _check_count(name, len(values))
    taken = list(itertools.islice(values, MAX_LEVELS + 1))
    _check_count(name, len(taken))
    return taken


def _check_count(name: str, count: int) -> None:
    if count > MAX_LEVELS:
        raise InvalidSpace(f"knob {name!r} has more than {MAX_LEVELS} values; give it fewer, such as a larger step, or powers of 2")
