"""Signals as protobuf messages."""

from __future__ import annotations

from ops_core.domain.signal import Signal
from ops_core.ports import Sent
from ops_core.services.signals import SignalPage, SignalRequest
from ops_core.wire.pb.v1 import tasks_pb2 as pb
from ops_core.wire.protobuf_json import put_value, value_of
from ops_core.wire.protobuf_time import timestamp_from


def signal_message(signal: Signal) -> pb.Signal:
    """The signal as a message."""
    message = pb.Signal(
        id=str(signal.id),
        task_id=str(signal.task_id),
        name=signal.name,
        sent_by=signal.sent_by,
        sent_at=timestamp_from(signal.sent_at),
        taken_by=signal.taken_by,
        idempotency_key=signal.idempotency_key,
    )
    put_value(message, "payload", signal.payload)
    return message


def sent_message(sent: Sent) -> pb.SendSignalResponse:
    """What became of a signal, as a message."""
    return pb.SendSignalResponse(signal=signal_message(sent.signal), replayed=sent.replayed)


def signals_message(page: SignalPage) -> pb.ListSignalsResponse:
    """A page of signals, as a message."""
    return pb.ListSignalsResponse(
        signals=map(signal_message, page.signals),
        has_more=page.next_cursor is not None,
        next_page_token=page.next_cursor or "",
    )


def signal_request_from(request: pb.SendSignalRequest) -> SignalRequest:
    """What the request asks for; its values are judged by the service.

    Raises:
        InvalidInput, MalformedRequest: the payload is no JSON.
    """
    return SignalRequest(
        name=request.name,
        payload=value_of(request, "payload"),
        idempotency_key=request.idempotency_key if request.HasField("idempotency_key") else None,
    )
