// Feeds a Decoder a sequence of messages (length32 and bytes, again and again, as in
// tests/golden/pgoutput) and checks what its header promises of every change that comes out.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "relay/decode/decoder.h"
#include "tests/unit/decode/memory_transactions.h"
#include "tests/unit/decode/message_file.h"

namespace {

using namespace millrace;

void require(bool holds) {
  if (!holds) std::abort();
}

// Touches every byte, so that a view outside of the input is noticed.
size_t touch(std::string_view text) {
  size_t sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  return sum;
}

class Checks : public decode::Handler {
 public:
  Status on_begin(const decode::Begin& begin) override {
    require(!open_);
    open_ = true;
    commit_ = begin.commit_lsn;
    next_ = 0;
    return {};
  }
  Status on_change(const Change& change, const TableSchemaPtr& table) override {
    require(open_);
    require(change.position == Position{3, commit_, next_++});
    require(change.table == table.get());
    const size_t width = table->columns.size();
    require(change.after.empty() || change.after.size() == width);
    require(change.before.empty() || change.before.size() == width);
    for (const Row row : {change.after, change.before}) {
      for (const Value& value : row) sum_ += touch(value.text);
    }
    if (change.op == Op::truncate) {
      const uint32_t place = change.position.ordinal - change.truncate_first;
      require(place < change.truncated.size());
      require(change.truncated[place] == table->fingerprint);
    }
    for (size_t i = 0; i < width; ++i) {
      if (!table->columns[i].in_key) continue;
      require(change.after.empty() || change.after[i].kind == ValueKind::text);
      require(change.before.empty() || change.before[i].kind == ValueKind::text);
    }
    return {};
  }
  Status on_commit(const decode::Commit& commit) override {
    require(open_);
    require(commit.commit_lsn == commit_);
    open_ = false;
    return {};
  }
  Status on_message(const decode::LogicalMessage& message) override {
    require(open_ || !message.transactional);
    sum_ += touch(message.prefix) + touch(message.content);
    return {};
  }

  size_t sum_ = 0;

 private:
  bool open_ = false;
  Lsn commit_;
  uint32_t next_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  testing::MemoryTransactions open;
  decode::Decoder decoder(
      {3,
       [](const std::string&, const std::string& table) -> Result<std::vector<std::string>> {
         if (table.size() % 2 == 0) return std::vector<std::string>{"id"};
         return std::vector<std::string>{};
       },
       &open});
  Checks checks;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  // Each message in a buffer of its own: a read past its end is a read past an allocation. After an
  // error the state is still whole, so the rest is tried too.
  for (const std::string& message : testing::split_messages(input)) {
    (void)decoder.decode(message, checks);
  }
  return 0;
}
