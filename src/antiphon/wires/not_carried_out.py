"""Why a call that was told was never carried out, in the words of every wire."""

from __future__ import annotations

NOT_WHOLE = "The reply was cut before this call was whole; it was not carried out."
NOT_ANSWERED = "The run ended before this call had an output; it was not carried out."
TAKEN_BACK = "The turn began again; this call was not carried out."
