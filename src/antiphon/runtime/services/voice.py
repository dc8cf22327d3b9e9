"""Speech to text and text to speech, by the models of the operator's settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import MAX_AUDIO_BYTES, Operation, Speech, Transcription
from antiphon.engine import accounts
from antiphon.engine.snapshot import ChangeSet, IdempotencyKey, ReadSet, RequestUsage, Snapshot
from antiphon.ports import RunStore
from antiphon.providers.catalog import Catalog
from antiphon.providers.speech import Speaker
from antiphon.providers.transcription import SUFFIXES, Transcriber
from antiphon.runtime.responses import OperationHandler
from antiphon.runtime.services.owner_slots import OwnerSlots
from antiphon.runtime.services.runs import quota_key
from antiphon.runtime.turn_runner import Cost, no_cost
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal
from antiphon.types.errors import (
    AntiphonError,
    BadSettings,
    InvalidRequest,
    NotFound,
    TooLarge,
)
from antiphon.types.runs import Usage

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Recordings, and texts, of all owners that a process sends at once: audio is held in memory."""
PER_OWNER = 2
"""Of these, the most of one owner."""


class VoiceService:
    """Sends recordings and texts to the operator's models; it keeps nothing but the usage."""

    def __init__(
        self, store: RunStore, catalog: Catalog, settings: Settings, cost: Cost = no_cost
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._transcription_model = settings.transcription_model
        self._speech_model = settings.speech_model
        self._speech_voice = settings.speech_voice
        self._cost = cost
        self._transcriber: Transcriber | None = None
        self._speaker: Speaker | None = None
        self._counting: set[asyncio.Task[Usage]] = set()
        self._recordings = OwnerSlots(
            "recordings are being transcribed", at_once=AT_ONCE, per_owner=PER_OWNER
        )
        self._texts = OwnerSlots("texts are being spoken", at_once=AT_ONCE, per_owner=PER_OWNER)
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateTranscription: self._create_transcription,
            operations.CreateSpeech: self._create_speech,
        }

    @property
    def transcribed_by(self) -> str:
        """The provider that gets what is said, and its address; "" if off."""
        if self._transcription_model is None:
            return ""
        try:
            return self._open_transcriber(self._transcription_model).place
        except BadSettings:  # the first recording is answered with the reason
            return self._transcription_model.partition(":")[0]

    @property
    def spoken_by(self) -> str:
        """The provider that gets what is read aloud, and its address; "" if off."""
        if self._speech_model is None:
            return ""
        try:
            return self._open_speaker(self._speech_model).place
        except BadSettings:  # the first text is answered with the reason
            return self._speech_model.partition(":")[0]

    async def close(self) -> None:
        """Finish counting, and close the connections."""
        if self._counting:
            await asyncio.wait(self._counting)
        if self._transcriber is not None:
            await self._transcriber.close()
        if self._speaker is not None:
            await self._speaker.close()

    async def _create_transcription(
        self, operation: operations.CreateTranscription, by: Principal, _: IdempotencyKey | None
    ) -> Transcription:
        model = self._transcription_model
        if model is None:
            raise NotFound(
                "Nothing is transcribed here.",
                hint="An operator can set `transcription_model`, for instance openai:whisper-1.",
            )
        media_type = operation.media_type.partition(";")[0].strip().lower()
        if media_type not in SUFFIXES:
            raise InvalidRequest(
                "The recording has a media type that is not transcribed.",
                expected=", ".join(SUFFIXES),
                received=operation.media_type[:100],
                where="$.media_type",
            )
        if not operation.audio:
            raise InvalidRequest("The recording is empty.", expected="audio", received="0 bytes")
        if len(operation.audio) > MAX_AUDIO_BYTES:
            raise TooLarge(
                "The recording is too long.", expected=f"at most {MAX_AUDIO_BYTES} bytes"
            )
        with self._recordings.hold(by.owner):
            await self._check_quota(by)
            transcriber = self._open_transcriber(model)
            async with self._count_if_cancelled(by, model):
                transcribed = await transcriber.transcribe(
                    operation.audio, media_type, operation.language or "", operation.prompt or ""
                )
            usage = await self._count(by, model, transcribed.usage, transcribed.seconds)
        return Transcription(
            text=transcribed.text, model=model, usage=usage, seconds=transcribed.seconds
        )

    async def _create_speech(
        self, operation: operations.CreateSpeech, by: Principal, _: IdempotencyKey | None
    ) -> Speech:
        model = self._speech_model
        if model is None:
            raise NotFound(
                "Nothing is spoken here.",
                hint="An operator can set `speech_model`, for instance openai:tts-1.",
            )
        if not operation.text.strip():
            raise InvalidRequest("The text is empty.", expected="words", received="blanks")
        with self._texts.hold(by.owner):
            await self._check_quota(by)
            speaker = self._open_speaker(model)
            async with self._count_if_cancelled(by, model):
                spoken = await speaker.speak(operation.text, operation.voice or self._speech_voice)
            await self._count(by, model, Usage())  # servers count nothing for speech
        return Speech(audio=spoken.audio, media_type=spoken.media_type, model=model)

    def _open_speaker(self, model: str) -> Speaker:
        if self._speaker is None:
            self._speaker = self._catalog.open_speaker(model)
        return self._speaker

    def _open_transcriber(self, model: str) -> Transcriber:
        if self._transcriber is None:
            self._transcriber = self._catalog.open_transcriber(model)
        return self._transcriber

    async def _check_quota(self, by: Principal) -> None:
        """Raise `QuotaExceeded` if the tokens of the caller's key are used up."""
        if by.limits.tokens_per_day is None:
            return

        def check(found: Snapshot) -> None:
            accounts.check_turn_quota(found, by.limits)

        await self._store.change(ReadSet(owner=by.owner, key_id=by.key_id, what="voice"), check)

    @asynccontextmanager
    async def _count_if_cancelled(self, by: Principal, model: str) -> AsyncGenerator[None]:
        """Count a request that its caller leaves: the provider may bill what it has begun."""
        try:
            yield
        except asyncio.CancelledError:
            with suppress(AntiphonError):  # it is logged
                await self._count(by, model, Usage())
            raise

    async def _count(self, by: Principal, model: str, usage: Usage, seconds: float = 0.0) -> Usage:
        """Count the usage of a request for its owner and key; return it with its cost.

        It is also counted if the caller leaves meanwhile.
        """
        counting = asyncio.create_task(self._add_usage(by, model, usage, seconds))
        self._counting.add(counting)
        counting.add_done_callback(self._on_counted)
        return await asyncio.shield(counting)

    def _on_counted(self, counting: asyncio.Task[Usage]) -> None:
        self._counting.discard(counting)
        if not counting.cancelled() and (fault := counting.exception()) is not None:
            log.warning("the usage of a voice request was not counted: %s", fault)

    async def _add_usage(self, by: Principal, model: str, usage: Usage, seconds: float) -> Usage:
        if usage.cost is None and usage != Usage():
            usage = replace(usage, cost=await self._cost(model, usage))
        change = ChangeSet(request_usage=RequestUsage(model, usage, quota_key(by), seconds))
        await self._store.change(ReadSet(owner=by.owner, what="voice"), lambda _: change)
        return usage
