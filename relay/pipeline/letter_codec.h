// How a change becomes a letter and a change again: with the wire's own bytes, so that a letter
// outlives the log's retention and every later version can read it.
//
// A letter carries its table's shape as a schema record and the change as a row record.
// Thread-safe: no state.
#pragma once

#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/sink/letter.h"
#include "relay/sink/parking.h"
#include "relay/wire/row_codec.h"

namespace millrace::pipeline {

// All of a letter but `failed` and `error`.
sink::Letter encode_letter(const wire::RowStamp& stamp, const Change& change);

// `stamp` is looked at whenever a letter is made, and outlives the codec.
sink::LetterCodec letter_codec(const wire::RowStamp& stamp);

// Adds the letter's change to `out`. Errors: corruption, and refused for a later version's bytes,
// naming the letter.
Status decode_letter(const sink::Letter& letter, ChangeBatch& out);

}  // namespace millrace::pipeline
