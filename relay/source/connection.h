// Connection: one libpq connection to the source for ordinary SQL, and the opening that the
// replication connection shares.
//
// Invariant: every session has the settings that conninfo.h pins.
// One thread at a time. No libpq type is complete here.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "relay/base/clock.h"
#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/source/conninfo.h"
#include "relay/source/options.h"

struct pg_conn;    // libpq's PGconn
struct pg_result;  // libpq's PGresult

namespace millrace::source {

struct CloseConnection {
  void operator()(pg_conn* connection) const;
};
using ConnectionHandle = std::unique_ptr<pg_conn, CloseConnection>;

struct ClearResult {
  void operator()(pg_result* result) const;
};
using ResultHandle = std::unique_ptr<pg_result, ClearResult>;

// Connects within options.connect_timeout (looking up a host name is not bounded by it).
// Errors: config (authentication, unknown database, a DSN that can not be read), otherwise
// retryable.
Result<ConnectionHandle> open_connection(const Conninfo& info, const Options& options);

// A parameter: text, bytes as they are, or NULL.
struct Parameter {
  Parameter(std::string_view value) : text(value) {}
  Parameter(const std::string& value) : text(value) {}
  Parameter(const char* value) : text(value) {}
  Parameter(std::nullopt_t) {}
  static Parameter bytes(std::string_view value) {
    Parameter parameter(value);
    parameter.binary = true;
    return parameter;
  }
  std::optional<std::string> text;
  bool binary = false;
};

// Rows in text form. NULLs read as empty, zero and false; views live as long as this.
class Rows {
 public:
  explicit Rows(ResultHandle result) : result_(std::move(result)) {}
  int count() const;
  int columns() const;
  bool is_null(int row, int column) const;
  std::string_view text(int row, int column) const;
  std::string string(int row, int column) const { return std::string(text(row, column)); }
  int64_t integer(int row, int column) const;
  uint32_t oid(int row, int column) const { return static_cast<uint32_t>(integer(row, column)); }
  bool boolean(int row, int column) const { return text(row, column) == "t"; }
  Lsn lsn(int row, int column) const;

 private:
  ResultHandle result_;
};

class Connection {
 public:
  static Result<Connection> open(const Options& options);

  // One statement. `doing` begins an error's message: "read the slots". Errors: also retryable when
  // no answer came within options.receive_timeout; the connection is lost then.
  Result<Rows> query(std::string_view doing, const std::string& sql,
                     std::initializer_list<Parameter> parameters = {});
  // COPY … TO STDOUT in the text format: `row` is given each line, with its end; a view for that
  // call alone. When it says false no more is wanted, and the connection is given up: to cancel
  // could hit the next statement. Errors as query().
  Status copy_out(std::string_view doing, const std::string& sql,
                  const std::function<bool(std::string_view)>& row);
  // 'text' as the server reads it.
  Result<std::string> literal(std::string_view text);
  // False once a query has found the connection lost.
  bool is_open() const;
  int server_version() const;  // 150020
  // Of the last failed query; empty after a success.
  const std::string& last_sqlstate() const { return last_sqlstate_; }

 private:
  Connection(ConnectionHandle handle, Redactor redactor, Options options)
      : handle_(std::move(handle)), redactor_(std::move(redactor)), options_(std::move(options)) {}
  Result<ResultHandle> await_result(std::string_view doing);
  // One look at the socket, at most a slice long. Errors: nothing came until `deadline`, or a stop;
  // the connection is lost then.
  Status await_input(std::string_view doing, SteadyTime deadline);
  bool has_input() const;  // await_input() would not wait
  Result<bool> copy_rows(std::string_view doing, const std::function<bool(std::string_view)>& row);

  ConnectionHandle handle_;
  Redactor redactor_;
  Options options_;
  std::string last_sqlstate_;
};

}  // namespace millrace::source
