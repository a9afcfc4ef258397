"""The documented place of `TradeOff`; its code stands among the other strategies."""

from bayestuner.search.strategies.trade_off import TradeOff

__all__ = ["TradeOff"]
