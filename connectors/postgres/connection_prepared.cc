// The part of Connection that prepares statements.
//
// A prepared one is planned once a session. So many are kept that a pipeline over hundreds of
// tables finds its own again; beyond that those that were not used for longest go, many at once.
#include <algorithm>
#include <utility>

#include <libpq-fe.h>

#include "connectors/postgres/connection.h"

namespace millrace::postgres {
namespace {

constexpr size_t kPreparedMax = 1000;
constexpr size_t kPreparedAtOnce = 100;  // bounds what is queued here

}  // namespace

Reply Connection::run_prepared(const std::string& sql, Params params) {
  auto known = prepared_.find(sql);
  if (known == prepared_.end()) {
    if (prepared_.size() >= kPreparedMax) forget_oldest();
    std::string name = next_name();
    Reply reply = last(PQsendPrepare(conn_.get(), name.c_str(), sql.c_str(), 0, nullptr) != 0);
    if (!reply.ok()) return reply;
    known = prepared_.emplace(sql, Prepared{std::move(name), 0}).first;
  }
  known->second.used = ++uses_;
  return last(PQsendQueryPrepared(conn_.get(), known->second.name.c_str(),
                                  static_cast<int>(params.size()), params.data(), nullptr, nullptr,
                                  0) != 0);
}

std::string Connection::next_name() { return "millrace_" + std::to_string(next_name_++); }

// A quarter of them, in one message. In a transaction that has failed nothing can be prepared
// either.
void Connection::forget_oldest() {
  std::vector<uint64_t> uses;
  for (const auto& [sql, prepared] : prepared_) uses.push_back(prepared.used);
  const auto limit = uses.begin() + static_cast<std::ptrdiff_t>(uses.size() / 4);
  std::nth_element(uses.begin(), limit, uses.end());
  std::string sql;
  for (const auto& [text, prepared] : prepared_) {
    if (prepared.used <= *limit) sql += "DEALLOCATE " + prepared.name + "; ";
  }
  if (!run(sql).ok()) return;
  std::erase_if(prepared_, [&](const auto& known) { return known.second.used <= *limit; });
}

// Each is a transaction of its own, so that one that fails takes none with it; and all are on their
// way before the first answer comes.
std::vector<Reply> Connection::prepare_all(std::span<const std::string> statements) {
  std::vector<Reply> replies;
  while (replies.size() < statements.size()) {
    const size_t count = std::min(kPreparedAtOnce, statements.size() - replies.size());
    prepare_some(statements.subspan(replies.size(), count), replies);
  }
  return replies;
}

void Connection::prepare_some(std::span<const std::string> statements,
                              std::vector<Reply>& replies) {
  std::vector<std::string> names;
  bool sent = PQenterPipelineMode(conn_.get()) == 1;
  for (const std::string& sql : statements) {
    const bool kept = !prepared_.contains(sql) && prepared_.size() + names.size() < kPreparedMax;
    names.push_back(kept ? next_name() : std::string());
    sent = sent && PQsendPrepare(conn_.get(), names.back().c_str(), sql.c_str(), 0, nullptr) == 1 &&
           PQpipelineSync(conn_.get()) == 1;
  }
  for (size_t i = 0; i < statements.size(); ++i) {
    PGresult* result = nullptr;
    if (sent) {
      await_result();
      result = PQgetResult(conn_.get());
    }
    replies.emplace_back(result, connection_error());
    if (replies.back().ok() && !names[i].empty()) {
      prepared_.emplace(statements[i], Prepared{std::move(names[i]), ++uses_});
    }
    // What ends the statement, and the synchronisation behind it.
    for (int more = 0; sent && more < 2; ++more) {
      await_result();
      PQclear(PQgetResult(conn_.get()));
    }
  }
  if (PQexitPipelineMode(conn_.get()) != 1 && alive()) give_up("it gave other answers than asked");
}

Reply Connection::describe(const std::string& sql) {
  const bool nested = in_transaction();
  if (nested) {
    Reply savepoint = run("SAVEPOINT millrace_probe");
    if (!savepoint.ok()) return savepoint;
  }
  Reply reply = last(PQsendPrepare(conn_.get(), "", sql.c_str(), 0, nullptr) != 0);
  if (reply.ok()) reply = last(PQsendDescribePrepared(conn_.get(), "") != 0);
  if (nested) {
    Reply undone = run("ROLLBACK TO SAVEPOINT millrace_probe; RELEASE SAVEPOINT millrace_probe");
    if (!undone.ok()) return undone;
  }
  return reply;
}

// The server forgets them too, in a transaction as well, or they would pile up in its memory; only
// in one that has failed it takes no statement.
void Connection::forget_prepared() {
  prepared_.clear();
  const auto status = PQtransactionStatus(conn_.get());
  if (alive() && (status == PQTRANS_IDLE || status == PQTRANS_INTRANS)) run("DEALLOCATE ALL");
}

}  // namespace millrace::postgres
