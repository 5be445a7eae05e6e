// The part of Replication::Stream that reads.
#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "relay/base/logging.h"
#include "relay/source/replication_stream.h"
#include "relay/source/server_error.h"

namespace millrace::source {
namespace {

constexpr Millis kPollMost{1000};

}  // namespace

void FreeCopyData::operator()(char* data) const { PQfreemem(data); }

Result<std::optional<Frame>> Replication::Stream::next(Millis wait) {
  if (!streaming_) return fail(ErrorCode::fatal, "the stream was not started");
  std::optional<SteadyTime> deadline;  // the clock is not read for frames that are there
  while (true) {
    if (interrupted_) return fail(ErrorCode::cancelled, "interrupted");
    TRY_ASSIGN(auto frame, read_now());
    if (frame) {
      silence_ = Millis(0);
      asked_in_silence_ = false;
      return frame;
    }
    if (wait == Millis(0)) return std::nullopt;
    if (!deadline) deadline = steady_now() + wait;
    const Millis left = std::min(until(*deadline), kPollMost);
    if (left == Millis(0)) return std::nullopt;
    const SteadyTime before = steady_now();
    TRY(wait_for_input(left));
    TRY(note_silence(std::chrono::duration_cast<Millis>(steady_now() - before)));
  }
}

// A frame that is buffered or that the socket holds.
Result<std::optional<Frame>> Replication::Stream::read_now() {
  char* data = nullptr;
  int length = 0;
  {
    const std::lock_guard lock(connection_mutex_);
    length = PQgetCopyData(handle_.get(), &data, 1);
    // PQconsumeInput reads one buffer's worth: a large frame takes several.
    while (length == 0) {
      // What was read before a lost connection still counts: it is looked at before the failure.
      const bool alive = PQconsumeInput(handle_.get()) != 0;
      length = PQgetCopyData(handle_.get(), &data, 1);
      if (length != 0) break;
      if (!alive) return fail(server_error(handle_.get(), nullptr, redactor_, "read the stream"));
      pollfd file{PQsocket(handle_.get()), POLLIN, 0};
      if (poll(&file, 1, 0) <= 0) break;
    }
    frame_.reset(data);
    if (length < 0) return fail(stream_ended());
    if (fatal_notice_) return fail(*fatal_notice_);
  }
  if (length == 0) {
    const std::lock_guard lock(state_mutex_);
    if (feedback_error_) return fail(*feedback_error_);
    return std::nullopt;
  }
  return take_frame({data, static_cast<size_t>(length)});
}

Result<std::optional<Frame>> Replication::Stream::take_frame(std::string_view bytes) {
  TRY_ASSIGN(const Frame frame, parse_frame(bytes));
  received_.raise_to(std::max(frame.wal_start, frame.server_wal_end));
  if (frame.reply_requested) {
    const std::lock_guard lock(state_mutex_);
    reply_wanted_ = true;
    orders_.notify_all();
  }
  return frame;
}

// The server ended COPY: its last result says why. The connection's lock is held.
Error Replication::Stream::stream_ended() {
  streaming_ = false;
  const ResultHandle result(PQgetResult(handle_.get()));
  const std::string sqlstate = sqlstate_of(result.get());
  if (PQresultStatus(result.get()) != PGRES_FATAL_ERROR) {
    return {ErrorCode::retryable, "the server ended the stream"};
  }
  Error error = server_error(handle_.get(), result.get(), redactor_, "read the stream");
  if (sqlstate == "42704") {
    return std::move(error)
        .with_code(ErrorCode::refused)
        .with_hint(
            fmt::format("publication {} did not exist when these changes were made; create it, "
                        "then a new slot and a fresh copy: millrace teardown, millrace setup",
                        options_.publication));
  }
  if (sqlstate == "55000" || sqlstate == "58P01") {
    return std::move(error)
        .with_code(ErrorCode::refused)
        .with_hint(
            "the slot has lost WAL (pg_replication_slots.wal_status): a fresh copy is needed");
  }
  return error;
}

void Replication::Stream::on_notice(void* self, const PGresult* notice) {
  auto* stream = static_cast<Stream*>(self);
  const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == nullptr || std::string_view(severity) != "WARNING") return;
  const char* primary = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
  const std::string text = stream->redactor_.clean(primary == nullptr ? "" : primary);
  const std::string sqlstate = sqlstate_of(notice);
  logging::warn("the source warns", {{"message", text}, {"sqlstate", sqlstate}});
  // Postgres 18 leaves out a publication that it does not find, and goes on.
  if (stream->streaming_ && (sqlstate == "55000" || sqlstate == "42704")) {
    stream->fatal_notice_ = Error(
        ErrorCode::refused, fmt::format("the server leaves changes out: {}", text),
        fmt::format("publication {} must exist before the changes; create it, then a new slot and "
                    "a fresh copy: millrace teardown, millrace setup",
                    stream->options_.publication));
  }
}

Status Replication::Stream::wait_for_input(Millis wait) {
  std::array<pollfd, 2> files{{{PQsocket(handle_.get()), POLLIN, 0}, {wake_, POLLIN, 0}}};
  if (poll(files.data(), files.size(), static_cast<int>(wait.count())) > 0 &&
      files[1].revents != 0) {
    eventfd_t count = 0;
    eventfd_read(wake_, &count);
  }
  if (interrupted_) return fail(ErrorCode::cancelled, "interrupted");
  return {};
}

// A peer that is gone without a word: ask it, then give it up. Only waiting counts, so that a
// reader that was busy elsewhere does not blame the server.
Status Replication::Stream::note_silence(Millis waited) {
  silence_ += waited;
  if (silence_ >= options_.receive_timeout) {
    return fail(ErrorCode::retryable,
                fmt::format("the source was silent for {} ms, though asked", silence_.count()));
  }
  if (silence_ >= options_.receive_timeout / 2 && !asked_in_silence_) {
    asked_in_silence_ = true;
    request_keepalive();
  }
  return {};
}

}  // namespace millrace::source
