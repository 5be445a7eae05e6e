#include "relay/log/embedded/block.h"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace millrace;
using namespace millrace::log;

namespace {

std::string three_records() {
  BlockBuilder builder;
  builder.add("k1", "value");
  builder.add("", std::string(300, 'x'));
  builder.add("k2", "");
  return builder.take(0x0102030405060708);
}

BlockIterator::Step walk(std::string_view block, std::vector<PackedRecord>& out) {
  BlockIterator it(block);
  for (;;) {
    PackedRecord record;
    const auto step = it.next(record);
    if (step != BlockIterator::Step::record) return step;
    out.push_back(record);
  }
}

}  // namespace

TEST_CASE("block_key: golden bytes, and memcmp order is offset order") {
  CHECK(block_key(7, 258) == std::string("d\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\x01\x02", 17));
  CHECK(mark_key(7, 1) == std::string("x\0\0\0\x07\0\0\0\0\0\0\0\x01", 13));
  CHECK(floor_key(1) == std::string("f\0\0\0\x01", 5));
  CHECK(name_key("shop.public.t") == "tshop.public.t");
  CHECK(block_key(7, 255) < block_key(7, 256));
  CHECK(block_key(7, LogOffset{1} << 40) < block_key(8, 0));
  CHECK(offset_of_block_key(block_key(7, 258), 7) == 258);
  CHECK(!offset_of_block_key(block_key(7, 258), 8));
  CHECK(!offset_of_block_key(mark_key(7, 258), 7));
  CHECK(offset_of_mark_key(mark_key(7, 258), 7) == 258);
}

TEST_CASE("BlockBuilder: golden bytes") {
  BlockBuilder builder;
  builder.add("k", "va");
  const std::string expected(
      "\x01\0\x01\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x01\0\0\0\x02\0\0\0kva", 25);
  CHECK(builder.take(0x0102030405060708) == expected);
  CHECK(builder.empty());
  CHECK(builder.bytes() == 0);
}

TEST_CASE("BlockIterator: gives back what was added") {
  const std::string block = three_records();
  const auto header = decode_block_header(block);
  REQUIRE(header);
  CHECK(header->count == 3);
  CHECK(header->written_at_micros == 0x0102030405060708);
  std::vector<PackedRecord> records;
  CHECK(walk(block, records) == BlockIterator::Step::end);
  REQUIRE(records.size() == 3);
  CHECK(records[0].key == "k1");
  CHECK(records[0].value == "value");
  CHECK(records[1].key.empty());
  CHECK(records[1].value == std::string(300, 'x'));
  CHECK(records[2].key == "k2");
  CHECK(records[2].value.empty());
}

TEST_CASE("BlockIterator: truncation at every length, and bytes too many, are malformed") {
  const std::string block = three_records();
  for (size_t size = 0; size < block.size(); size++) {
    std::vector<PackedRecord> records;
    CHECK(walk(std::string_view(block).substr(0, size), records) == BlockIterator::Step::malformed);
  }
  std::vector<PackedRecord> records;
  CHECK(walk(block + "x", records) == BlockIterator::Step::malformed);
}

TEST_CASE("BlockIterator: hostile counts and sizes are malformed") {
  std::vector<PackedRecord> records;
  std::string block = three_records();
  block[0] = 2;  // another format
  CHECK(walk(block, records) == BlockIterator::Step::malformed);
  block = three_records();
  block[5] = '\xff';  // count
  CHECK(walk(block, records) == BlockIterator::Step::malformed);
  block = three_records();
  block[2] = 2;  // one record fewer than there are
  CHECK(walk(block, records) == BlockIterator::Step::malformed);
  block = three_records();
  for (size_t i = kBlockHeaderBytes; i < kBlockHeaderBytes + 8; i++)
    block[i] = '\xff';  // both sizes
  CHECK(walk(block, records) == BlockIterator::Step::malformed);
}
