"""A model whose tokens and their price are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from agentkit.errors import ConfigurationError
from agentkit.llm.base import BaseLlmClient, LlmResponse, Usage
from agentkit.llm.wrapper import LlmCall, LlmWrapper

#: An amount in US dollars.
Money: TypeAlias = Decimal
#: What the tokens of an answer cost; None when nobody knows.
PriceOf: TypeAlias = Callable[[LlmResponse], Money | None]

#: What runs on a machine of one's own, or is somebody else's endpoint: a price of its namesake would be made up.
_WITHOUT_PRICE = frozenset({"openai-compatible"})


@dataclass(frozen=True, slots=True)
class Metered:
    """One answer, counted."""

    #: As in the response: who answered.
    provider: str
    model: str
    usage: Usage
    #: None when the model is in no price table.
    price_usd: Money | None
    from_cache: bool = False


@dataclass(frozen=True, slots=True)
class MeterTotal:
    """All answers of one model."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    #: Of the calls whose price is known.
    price_usd: Money = Decimal(0)
    calls_without_price: int = 0

    def plus(self, metered: Metered) -> MeterTotal:
        return MeterTotal(
            self.calls + 1,
            self.usage + metered.usage,
            self.price_usd + (metered.price_usd or 0),
            self.calls_without_price + (metered.price_usd is None),
        )


class MeteredLlm(LlmWrapper):
    """Counts what each answer used, and what that costs by a price table that others maintain (`genai-prices`).

    Prices are list prices for text, and an estimate: the bill is the provider's. The table is the installed package's;
    a program that wants today's runs `genai_prices.UpdatePrices`. A failed call says nothing of its usage and is not
    counted. An answer from a cache counts as a call that used and cost nothing.
    """

    def __init__(
        self,
        inner: BaseLlmClient,
        on_metered: Callable[[Metered], None] | None = None,
        *,
        price_of: PriceOf | None = None,
    ) -> None:
        """
        Args:
            on_metered: Told of each answer. Must be quick and must not raise.
            price_of: A price table of one's own, for negotiated prices or a model of one's own.

        Raises:
            ConfigurationError: no table is given, and the package with the maintained one is missing.
        """
        super().__init__(inner)
        self._on_metered = on_metered
        self._price_of = price_of or list_prices()
        self._totals: dict[tuple[str, str], MeterTotal] = {}

    @property
    def totals(self) -> Mapping[tuple[str, str], MeterTotal]:
        """What was counted so far, by provider and model."""
        return MappingProxyType(self._totals)

    async def _answer(self, call: LlmCall) -> LlmResponse:
        response = await call.put_to(self._inner)
        price = Decimal(0) if response.from_cache else self._price_of(response)
        metered = Metered(response.provider, response.model, response.usage, price, response.from_cache)
        name = (response.provider, response.model)
        self._totals[name] = self._totals.get(name, MeterTotal()).plus(metered)
        if self._on_metered is not None:
            self._on_metered(metered)
        return response


def list_prices() -> PriceOf:
    """The providers' list prices. Loads the table, which takes a moment the first time.

    Raises:
        ConfigurationError: the package is missing.
    """
    try:
        import genai_prices
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            "prices need a package that is not installed: pip install 'opspawn[prices]', or pass price_of"
        ) from exc

    def price_of(response: LlmResponse) -> Money | None:
        if response.provider in _WITHOUT_PRICE:
            return None
        try:
            usage = genai_prices.Usage(
                input_tokens=response.usage.input_tokens,
                cache_read_tokens=response.usage.cached_input_tokens,
                output_tokens=response.usage.output_tokens,
            )
            return genai_prices.calc_price(usage, response.model, provider_id=response.provider).total_price
        # No such provider or model; or a usage that cannot be, which some compatible servers report.
        except (LookupError, ValueError):
            return None

    # The table is read when it is first used: better here than in the middle of a call.
    with suppress(LookupError):
        genai_prices.calc_price(genai_prices.Usage(), "gpt-4o", provider_id="openai")
    return price_of
