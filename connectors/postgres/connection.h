// Connection: one libpq session with pinned settings, prepared statements by SQL text, and replies.
//
// Invariants: values come and go in the same text form whatever the server's or role's defaults
// are. No call waits for ever for an answer that can not come: see connection_wait.cc.
// One thread, but interrupt() from any. libpq's header stays in the .cc.
#pragma once

#include <atomic>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "connectors/postgres/target.h"
#include "relay/base/clock.h"
#include "relay/base/result.h"

extern "C" {
struct pg_conn;
struct pg_result;
struct pg_cancel;
}

namespace millrace::postgres {

// What a failed statement means for what the caller does next.
enum class Failure {
  conflict,   // unique, foreign key, exclusion: source order may be fine
  row,        // a value or row that the target rejects
  schema,     // the target's tables are not what they were
  retryable,  // connection, lock, resources
  other,
};

// `sqlstate` empty: the connection was lost.
Failure classify(std::string_view sqlstate);

class Reply {
 public:
  explicit Reply(pg_result* result, std::string lost = {});

  bool ok() const;
  int rows() const;
  int columns() const;
  std::string_view text(int row, int column) const;  // empty for NULL
  bool is_null(int row, int column) const;
  std::string_view name(int column) const;  // of the column
  uint32_t type_oid(int column) const;
  int type_modifier(int column) const;
  uint64_t affected() const;         // rows that the command touched
  std::string_view command() const;  // "COMMIT", "INSERT 0 1"

  std::string_view column() const;    // that a failure names; may be empty
  std::string_view sqlstate() const;  // of a failure; empty when the connection was lost
  std::string message() const;        // the primary message, without row values; never DETAIL
  Failure failure() const { return classify(sqlstate()); }

 private:
  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
  std::string lost_;
};

// A parameter in text form; nullptr is NULL.
using Params = std::span<const char* const>;

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(const Options& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Several statements in one string: one reply each, up to the first failure.
  std::vector<Reply> run_all(const std::string& sql);
  // The last statement's reply, or the failure.
  Reply run(const std::string& sql);
  Reply run(const std::string& sql, Params params);
  Reply run(const std::string& sql, std::initializer_list<std::string> params);
  // Prepares `sql` once for this session. Errors of the preparation come as the reply.
  Reply run_prepared(const std::string& sql, Params params);
  // Parses `sql` and describes its result columns, running nothing. In a transaction it works
  // inside a savepoint, so that a failure leaves the transaction as it was.
  Reply describe(const std::string& sql);
  // Prepares them as run_prepared() would, without waiting for each; those for which there is no
  // room are parsed only. One reply each. REQUIRES: no transaction is open.
  std::vector<Reply> prepare_all(std::span<const std::string> statements);
  void forget_prepared();

  // COPY … FROM STDIN, for copy_writer.h. `sql` may hold statements around it; those behind it run
  // in copy_end(). Not ok: the failure, and no COPY has begun.
  Reply copy_begin(const std::string& sql);
  // Any piece of the data. False: the connection was lost; copy_end() says why.
  bool copy_put(std::string_view bytes);
  // The COPY's reply, or the first failure from it on. `refuse`: lets the COPY fail, for that
  // reason.
  Reply copy_end(const char* refuse);

  bool alive() const;
  bool in_transaction() const;
  int server_version() const;
  // The session as the server knows it: a pid comes again, with another start.
  int backend_pid() const { return backend_pid_; }
  const std::string& backend_start() const { return backend_start_; }
  // The role that is connected, quoted as SQL wants it.
  const std::string& role() const { return role_; }
  std::string literal(std::string_view text) const;  // 'quoted'

  // Asks the server to cancel; where it does not answer, the running call gives the session up.
  void interrupt();
  // True once after an interrupt.
  bool take_interrupted() { return interrupted_.exchange(false); }

 private:
  // What the server says of our session when it is asked over another one.
  enum class Busy { yes, no, unreachable };

  Connection(pg_conn* conn, const Options& options);
  Status pin_session(const Options& options);
  Status learn_backend();
  Status take_replica_role();
  // All results of what was sent, or one that says why nothing could be; and the last of them.
  std::vector<Reply> collect(bool sent);
  Reply last(bool sent);
  std::string next_name();
  void forget_oldest();
  void prepare_some(std::span<const std::string> statements, std::vector<Reply>& replies);
  std::string connection_error() const;
  // Waits until the next result can be taken without waiting, or the connection was given up.
  void await_result() { await(false); }
  // Likewise until everything was handed to the network.
  void await_sent() { await(true); }
  void await(bool sent);
  bool is_lost(Millis silence);
  Busy ask_backend() const;
  void give_up(std::string why);

  struct Close {
    void operator()(pg_conn* conn) const;
  };
  struct Canceller;
  std::unique_ptr<pg_conn, Close> conn_;
  const Options options_;
  std::shared_ptr<Canceller> canceller_;
  int backend_pid_ = 0;
  std::string backend_start_;
  std::string role_;
  std::string given_up_;  // why
  int looked_lost_ = 0;   // times in a row
  std::atomic<bool> interrupted_{false};
  struct Prepared {
    std::string name;
    uint64_t used = 0;  // by uses_
  };
  std::unordered_map<std::string, Prepared> prepared_;  // by SQL
  uint64_t next_name_ = 0;
  uint64_t uses_ = 0;
};

// Errors: config for a connection string that libpq can not read. Does not connect.
Status check_dsn(const std::string& dsn);

// An Error with the code that the failure asks for; conflict stays conflict.
Error to_error(Connection& connection, const Reply& reply, std::string_view doing);

}  // namespace millrace::postgres
