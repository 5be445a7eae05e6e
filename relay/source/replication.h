// Replication: the connection that takes a slot, receives its stream and acknowledges it.
//
// Invariant: `flushed` is what set_flushed was told, never more, and never beyond what the server
// has said it has sent; nothing else moves the slot. Only `flushed` does: what was received is
// reported as written. A thread inside sends status updates by time (wal_sender_timeout counts what
// a client says, not what it reads), at once when the server asks for one, and soon after
// set_flushed has moved. So a reader that is held up does not lose its connection.
//
//   new ─► connect ─► identify, create_slot ─► start ─► next … ─► stop
//
// Threads: one for all calls but set_flushed, request_keepalive and interrupt, which any may make.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "relay/base/clock.h"
#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/source/options.h"
#include "relay/source/slot_source.h"
#include "relay/source/stream_messages.h"

namespace millrace::source {

struct Identity {
  std::string system_identifier;
  uint32_t timeline = 0;
  Lsn wal_position;  // end of flushed WAL
  std::string database;
};

class Replication final : public SlotStream {
 public:
  explicit Replication(Options options);
  ~Replication() override;
  Replication(const Replication&) = delete;
  Replication& operator=(const Replication&) = delete;

  // Errors: config (authentication, no REPLICATION), retryable.
  Status connect() override;
  Result<Identity> identify() override;

  // Creates options.slot and returns its consistent point: whatever commits after it is streamed.
  // Waits for transactions that are open now and have written. Errors: refused when the slot
  // exists.
  Result<Lsn> create_slot(bool temporary = false);

  // Takes the slot and begins to stream. 0/0: from where the slot stands; before that is forwarded
  // to it by the server. Errors: retryable and slot_is_busy() when another process reads it;
  // refused when the slot does not exist or is lost.
  Status start(Lsn from) override;
  // The last start() failed because another process reads the slot.
  bool slot_is_busy() const override;

  // The next frame, or nullopt when none came within `wait`; with 0 it never waits. The payload is
  // valid until the next call. Errors end the stream: retryable (connection, the server stopped;
  // the slot's row tells whether going on makes sense), refused (slot lost or publication missing),
  // cancelled.
  Result<std::optional<Frame>> next(Millis wait) override;

  // Everything before `lsn` is durable elsewhere and may be forgotten. Never moves back.
  void set_flushed(Lsn lsn) override;
  // The server answers with a keepalive, which says how far it has come.
  void request_keepalive() override;
  // Makes a waiting call return `cancelled` soon, and every later one at once.
  void interrupt();

  // Why status updates can not be sent any more: for a reader that does not read for a while.
  Status failure() const override;

  // Sends what is flushed, ends the stream and closes. Waits a second at most; never fails.
  void stop() override;

 private:
  class Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace millrace::source
