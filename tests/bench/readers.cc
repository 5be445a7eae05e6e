// Reads a slot up to a position and says what that took: the limits that capture is measured by.
//
//   bench_readers MODE DSN SLOT PUBLICATION END_LSN [LOG]
//
//   eager    a bare libpq loop that waits for the socket whenever it is empty
//   lagging  the same, but it stays away for 20 ms before it looks at an empty socket again, so
//            that the server's window fills
//   decode   Millrace's own: Replication, Decoder, CatchUpPace, and nothing behind them
//   embedded Millrace's capture into an embedded log, synced; LOG is its folder, made and removed
//   kafka    Millrace's capture into Kafka; LOG is the brokers, and after each ; a setting
//            KEY=VALUE of librdkafka. The manifest topic stays
//
// Prints one line of JSON: {"mode", "seconds" from START_REPLICATION (capture: from connecting)
// until END_LSN was reached, "first_s" of them until the first data, "rows", "transactions",
// "bytes" of messages (0 where it publishes), "cpu_s" and "peak_mb" of this process}. It never
// acknowledges, so that the slot stays where it is and any number of readers can take the same
// backlog, one after the other. Exit code 1 with the reason on stderr when the stream ends before
// END_LSN, or a reader hears nothing for 60 s.
#include "tests/bench/readers.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>
#include <sys/resource.h>

#include "relay/decode/decoder.h"
#include "relay/source/catalog.h"
#include "relay/source/catch_up_pace.h"
#include "relay/source/quoting.h"
#include "relay/source/replication.h"

namespace millrace::bench {
namespace {

constexpr Millis kAway{20};
constexpr Millis kStatusEvery{1000};
constexpr Millis kSilenceMost{60'000};
constexpr size_t kXLogDataHeader = 25;

SteadyTime now() { return std::chrono::steady_clock::now(); }

double seconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

void print(const Job& job, const Tally& tally) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto cpu = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  fmt::print(
      "{{\"mode\": \"{}\", \"seconds\": {:.4f}, \"first_s\": {:.4f}, \"rows\": {}, "
      "\"transactions\": {}, \"bytes\": {}, \"cpu_s\": {:.3f}, \"peak_mb\": {:.1f}}}\n",
      job.mode, seconds(tally.began, tally.last), seconds(tally.began, tally.first), tally.rows,
      tally.transactions, tally.bytes, cpu(usage.ru_utime) + cpu(usage.ru_stime),
      static_cast<double>(usage.ru_maxrss) / 1024);
}

// The bare loop. It looks at no more of a message than it needs to count it and to know the end.

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Bare = std::unique_ptr<PGconn, Finish>;

uint64_t read64(const char* at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = (value << 8) | static_cast<uint8_t>(at[i]);
  return value;
}

// True when the end was reached.
bool count(const char* message, size_t size, Lsn end, Tally& tally) {
  if (message[0] == 'k') return read64(message + 1) >= end.value;
  if (message[0] != 'w' || size <= kXLogDataHeader) give_up("not a frame of a replication stream");
  if (tally.bytes == 0) tally.first = now();
  tally.bytes += size - kXLogDataHeader;
  const char* body = message + kXLogDataHeader;
  if (body[0] == 'I' || body[0] == 'U' || body[0] == 'D') ++tally.rows;
  if (body[0] != 'C') return false;
  ++tally.transactions;
  return read64(body + 1 + 1 + 8) >= end.value;
}

void send_status(PGconn* connection, Lsn received, bool ask) {
  source::StatusUpdate status;
  status.written = received;
  status.now = system_clock().wall();
  status.reply_requested = ask;
  const auto bytes = source::encode_status(status);
  if (PQputCopyData(connection, bytes.data(), static_cast<int>(bytes.size())) != 1 ||
      PQflush(connection) < 0) {
    give_up(PQerrorMessage(connection));
  }
}

// Takes all that is there, from the socket too (PQconsumeInput reads one buffer of it); true when
// the end was reached.
bool drain(PGconn* connection, Lsn end, Tally& tally, Lsn& received) {
  pollfd file{PQsocket(connection), POLLIN, 0};
  do {
    if (PQconsumeInput(connection) == 0) give_up(PQerrorMessage(connection));
    char* message = nullptr;
    int length = 0;
    while ((length = PQgetCopyData(connection, &message, 1)) > 0) {
      received.value = std::max(received.value, read64(message + 1));
      const bool done = count(message, static_cast<size_t>(length), end, tally);
      PQfreemem(message);
      if (done) return true;
    }
    if (length < 0) give_up(std::string("the stream ended: ") + PQerrorMessage(connection));
  } while (poll(&file, 1, 0) > 0);
  return false;
}

void read_bare(const Job& job, bool lagging, Tally& tally) {
  const char* const keys[] = {"dbname", "replication", nullptr};
  const char* const values[] = {job.dsn.c_str(), "database", nullptr};
  const Bare connection(PQconnectdbParams(keys, values, 1));  // dbname is a connection string
  if (PQstatus(connection.get()) != CONNECTION_OK) give_up(PQerrorMessage(connection.get()));
  const std::string start =
      source::start_command(PQserverVersion(connection.get()), job.slot, job.publication, Lsn{});
  tally.began = now();
  PGresult* started = PQexec(connection.get(), start.c_str());
  if (PQresultStatus(started) != PGRES_COPY_BOTH) give_up(PQerrorMessage(connection.get()));
  PQclear(started);

  Lsn received;
  SteadyTime told = now();
  SteadyTime heard = now();
  while (true) {
    const uint64_t before = tally.bytes;
    if (drain(connection.get(), job.end, tally, received)) break;
    if (tally.bytes != before) heard = now();
    if (now() - heard > kSilenceMost) give_up("nothing came for 60 s; is END_LSN behind the WAL?");
    if (now() - told > kStatusEvery) {
      send_status(connection.get(), received, tally.bytes == before);
      told = now();
    }
    if (lagging && tally.bytes != before) {
      std::this_thread::sleep_for(kAway);
    } else {
      pollfd file{PQsocket(connection.get()), POLLIN, 0};
      poll(&file, 1, static_cast<int>(kStatusEvery.count()));
    }
  }
  tally.last = now();
}

// Millrace's own.

class Counting final : public decode::Handler {
 public:
  Counting(Lsn end, source::CatchUpPace& pace, Tally& tally)
      : end_(end), pace_(pace), tally_(tally) {}
  Status on_begin(const decode::Begin& begin) override {
    pace_.begun(begin.commit_time);
    return {};
  }
  Status on_change(const Change&, const TableSchemaPtr&) override {
    ++tally_.rows;
    return {};
  }
  Status on_commit(const decode::Commit& commit) override {
    ++tally_.transactions;
    done = commit.end_lsn >= end_;
    return {};
  }
  Status on_message(const decode::LogicalMessage&) override { return {}; }

  bool done = false;

 private:
  Lsn end_;
  source::CatchUpPace& pace_;
  Tally& tally_;
};

void read_decoded(const Job& job, Tally& tally) {
  source::Options options;
  options.dsn = job.dsn;
  options.slot = job.slot;
  options.publication = job.publication;
  source::Replication replication(options);
  need(replication.connect());
  const auto catalog = std::make_shared<source::Catalog>(options);
  need(catalog->connect());
  decode::Decoder::Options decoding;
  decoding.primary_key = [catalog](const std::string& schema, const std::string& table) {
    return catalog->primary_key(schema, table);
  };
  decode::Decoder decoder(std::move(decoding));
  source::CatchUpPace pace;
  Counting counting(job.end, pace, tally);
  tally.began = now();
  need(replication.start(Lsn{}));
  SteadyTime heard = now();
  Millis wait{0};
  while (!counting.done) {
    const auto frame = need(replication.next(wait));
    if (!frame) {
      if (now() - heard > kSilenceMost) give_up("nothing came for 60 s");
      if (wait > Millis(0)) replication.request_keepalive();
      const Millis away = pace.next_wait();
      wait = away > Millis(0) ? Millis(0) : kStatusEvery;
      if (away > Millis(0)) std::this_thread::sleep_for(away);
      continue;
    }
    wait = Millis(0);
    pace.received(*frame);
    if (frame->kind == source::Frame::Kind::keepalive) {
      if (!decoder.in_transaction() && frame->server_wal_end >= job.end) break;
      continue;
    }
    if (tally.bytes == 0) tally.first = now();
    tally.bytes += frame->payload.size();
    need(decoder.decode(frame->payload, counting));
  }
  tally.last = now();
  replication.stop();
}

}  // namespace

void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_readers: %s\n", why.c_str());
  std::exit(1);
}

}  // namespace millrace::bench

int main(int argc, char** argv) {
  using namespace millrace;
  using namespace millrace::bench;
  if (argc != 6 && argc != 7)
    give_up("usage: bench_readers MODE DSN SLOT PUBLICATION END_LSN [LOG]");
  const auto end = parse_lsn(argv[5]);
  if (!end) give_up("END_LSN is no position such as 0/16B3748");
  const Job job{argv[1], argv[2], argv[3], argv[4], *end, argc == 7 ? argv[6] : ""};
  Tally tally;
  const bool publishes = job.mode == "embedded" || job.mode == "kafka";
  if (publishes && job.log.empty()) give_up("mode " + job.mode + " needs LOG");
  if (job.mode == "eager" || job.mode == "lagging") {
    read_bare(job, job.mode == "lagging", tally);
  } else if (job.mode == "decode") {
    read_decoded(job, tally);
  } else if (publishes) {
    capture(job, tally);
  } else {
    give_up("unknown mode " + job.mode + ": eager, lagging, decode, embedded or kafka");
  }
  print(job, tally);
}
