#include "relay/source/replication.h"

#include <charconv>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "relay/base/thread_name.h"
#include "relay/source/quoting.h"
#include "relay/source/replication_stream.h"
#include "relay/source/server_error.h"

namespace millrace::source {
namespace {

constexpr Millis kSlice{200};  // of a wait, so that a stop is noticed

std::string text_of(const PGresult* result, int column) {
  return {PQgetvalue(result, 0, column), static_cast<size_t>(PQgetlength(result, 0, column))};
}

}  // namespace

Replication::Stream::Stream(Options options)
    : options_(std::move(options)), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Replication::Stream::~Stream() {
  end_feedback();
  handle_.reset();
  close(wake_);
}

Status Replication::Stream::connect() {
  TRY_ASSIGN(Conninfo info, make_conninfo(options_, Purpose::replication));
  redactor_ = info.redactor;
  TRY_ASSIGN(handle_, open_connection(info, options_));
  version_ = PQserverVersion(handle_.get());
  PQsetNoticeReceiver(handle_.get(), on_notice, this);
  if (PQsetnonblocking(handle_.get(), 1) != 0) {
    return fail(server_error(handle_.get(), nullptr, redactor_, "connect to the source"));
  }
  return read_sender_timeout();
}

Status Replication::Stream::read_sender_timeout() {
  TRY_ASSIGN(const ResultHandle result,
             command("read wal_sender_timeout",
                     "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'"));
  int64_t timeout_ms = 0;
  if (PQntuples(result.get()) == 1) {
    const std::string text = text_of(result.get(), 0);
    std::from_chars(text.data(), text.data() + text.size(), timeout_ms);
  }
  interval_ = feedback_interval(options_.status_interval, Millis(timeout_ms));
  return {};
}

// Sends a command and waits for its first result without blocking inside libpq.
Result<ResultHandle> Replication::Stream::command(std::string_view doing, const std::string& sql,
                                                  std::string* sqlstate, bool waits) {
  if (!handle_) return fail(ErrorCode::fatal, fmt::format("{}: not connected", doing));
  if (PQsendQuery(handle_.get(), sql.c_str()) == 0) {
    return fail(server_error(handle_.get(), nullptr, redactor_, doing));
  }
  std::optional<SteadyTime> deadline = steady_now() + options_.receive_timeout;
  if (waits) deadline.reset();
  TRY_ASSIGN(ResultHandle result, await_result(doing, deadline));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COPY_BOTH) return result;
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
    while (true) {  // the null result that ends the command
      TRY_ASSIGN(const ResultHandle rest, await_result(doing, deadline));
      if (!rest) return result;
    }
  }
  if (sqlstate != nullptr) *sqlstate = sqlstate_of(result.get());
  Error error = server_error(handle_.get(), result.get(), redactor_, doing);
  while (true) {
    const auto rest = await_result(doing, deadline);
    if (!rest || !*rest) break;
  }
  return fail(std::move(error));
}

Result<ResultHandle> Replication::Stream::await_result(std::string_view doing,
                                                       std::optional<SteadyTime> deadline) {
  while (true) {
    if (options_.stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
    if (deadline && steady_now() >= *deadline) {
      return fail(ErrorCode::retryable, fmt::format("{}: the source did not answer within {} ms",
                                                    doing, options_.receive_timeout.count()));
    }
    const int unsent = PQflush(handle_.get());
    if (unsent < 0) return fail(server_error(handle_.get(), nullptr, redactor_, doing));
    if (PQisBusy(handle_.get()) == 0) return ResultHandle(PQgetResult(handle_.get()));
    TRY(wait_for_input(kSlice));
    if (PQconsumeInput(handle_.get()) == 0 && PQisBusy(handle_.get()) != 0) {
      return fail(server_error(handle_.get(), nullptr, redactor_, doing));
    }
  }
}

Result<Identity> Replication::Stream::identify() {
  TRY_ASSIGN(const ResultHandle result, command("identify the source", "IDENTIFY_SYSTEM"));
  if (PQntuples(result.get()) != 1 || PQnfields(result.get()) < 4) {
    return fail(ErrorCode::fatal, "identify the source: expected one row of four columns");
  }
  Identity identity;
  identity.system_identifier = text_of(result.get(), 0);
  const std::string timeline = text_of(result.get(), 1);
  std::from_chars(timeline.data(), timeline.data() + timeline.size(), identity.timeline);
  identity.wal_position = parse_lsn(text_of(result.get(), 2)).value_or(Lsn{});
  identity.database = text_of(result.get(), 3);
  return identity;
}

Result<Lsn> Replication::Stream::create_slot(bool temporary) {
  std::string sqlstate;
  // It waits for write transactions that are open, without end.
  auto created = command(fmt::format("create slot {}", options_.slot),
                         create_slot_command(version_, options_.slot, temporary), &sqlstate, true);
  if (!created) {
    Error error = std::move(created).error();
    if (sqlstate == "42710") return fail(std::move(error).with_code(ErrorCode::refused));
    if (sqlstate == "42501") {
      return fail(
          std::move(error).with_code(ErrorCode::config).with_hint("ALTER ROLE … REPLICATION"));
    }
    if (sqlstate == "55000")
      return fail(std::move(error).with_code(ErrorCode::config));  // wal_level
    return fail(std::move(error));
  }
  const auto point = parse_lsn(PQntuples(created->get()) == 1 ? text_of(created->get(), 1) : "");
  if (!point) return fail(ErrorCode::fatal, "create the slot: expected a consistent point");
  return *point;
}

Error Replication::Stream::start_error(Error error, const std::string& sqlstate) const {
  if (sqlstate == "55006") {
    return std::move(error).with_hint(
        "the slot serves one reader; its process is in "
        "pg_replication_slots.active_pid");
  }
  if (sqlstate == "42704" || sqlstate == "55000" || sqlstate == "58P01") {
    return std::move(error)
        .with_code(ErrorCode::refused)
        .with_hint(
            "look at the slot in pg_replication_slots; when it is gone or lost, changes are "
            "missing, and the tables need a fresh copy");
  }
  if (sqlstate == "42501") {
    return std::move(error).with_code(ErrorCode::config).with_hint("ALTER ROLE … REPLICATION");
  }
  return error;
}

Status Replication::Stream::start(Lsn from) {
  std::string sqlstate;
  slot_is_busy = false;
  if (options_.streaming && version_ < kOldestStreamingVersion) {
    return fail(ErrorCode::config,
                fmt::format("source.streaming: on needs Postgres 14 or later; the source is {}",
                            version_ / 10000),
                "set source.streaming: off");
  }
  const auto started = command(
      fmt::format("read slot {}", options_.slot),
      start_command(version_, options_.slot, options_.publication, from, options_.streaming),
      &sqlstate);
  if (!started) {
    slot_is_busy = sqlstate == "55006";
    return fail(start_error(started.error(), sqlstate));
  }
  if (PQresultStatus(started->get()) != PGRES_COPY_BOTH) {
    return fail(ErrorCode::fatal, "start the stream: the server did not begin to copy");
  }
  streaming_ = true;
  feedback_thread_ = std::jthread([this](std::stop_token stop) {
    name_this_thread("feedback");
    feedback(std::move(stop));
  });
  return {};
}

// The facade.

Replication::Replication(Options options) : stream_(std::make_unique<Stream>(std::move(options))) {}
Replication::~Replication() = default;
Status Replication::connect() { return stream_->connect(); }
Result<Identity> Replication::identify() { return stream_->identify(); }
Result<Lsn> Replication::create_slot(bool temporary) { return stream_->create_slot(temporary); }
Status Replication::start(Lsn from) { return stream_->start(from); }
bool Replication::slot_is_busy() const { return stream_->slot_is_busy; }
Result<std::optional<Frame>> Replication::next(Millis wait) { return stream_->next(wait); }
void Replication::set_flushed(Lsn lsn) { stream_->set_flushed(lsn); }
void Replication::request_keepalive() { stream_->request_keepalive(); }
Status Replication::failure() const { return stream_->failure(); }
void Replication::interrupt() { stream_->interrupt(); }
void Replication::stop() { stream_->stop(); }

}  // namespace millrace::source
