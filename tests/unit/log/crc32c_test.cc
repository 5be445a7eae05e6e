// RocksDB's checksums by the processor's instruction are those of its table.
#include "relay/log/embedded/crc32c.h"

#include <random>
#include <string>

#include <doctest/doctest.h>

using namespace millrace::log;

// What RocksDB calls; its header is not installed.
namespace rocksdb::crc32c {
uint32_t Extend(uint32_t crc, const char* data, size_t size);
}

TEST_CASE("crc32c_extend: the standard's check value, also of a sum that goes on") {
  CHECK(crc32c_extend(0, "123456789", 9) == 0xE3069283);
  CHECK(crc32c_extend(crc32c_extend(0, "1234", 4), "56789", 5) == 0xE3069283);
}

TEST_CASE("crc32c_extend: is what RocksDB's own callers are linked to") {
  // Volatile: a compiler may hold two names to be two functions.
  uint32_t (*volatile called)(uint32_t, const char*, size_t) = rocksdb::crc32c::Extend;
  uint32_t (*volatile ours)(uint32_t, const char*, size_t) = crc32c_extend;
  const bool same = called == ours;
  CHECK(same);
}

TEST_CASE("crc32c_extend: every length and alignment has the sum of RocksDB's table") {
  std::mt19937 random(7);
  std::string bytes(4096, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  for (size_t begin = 0; begin < 8; begin++) {
    for (size_t size = 0; size < 300; size++) {
      const auto crc = static_cast<uint32_t>(random());
      REQUIRE(crc32c_extend(crc, bytes.data() + begin, size) ==
              crc32c_extend_by_table(crc, bytes.data() + begin, size));
    }
    const size_t all = bytes.size() - begin;
    CHECK(crc32c_extend(0, bytes.data() + begin, all) ==
          crc32c_extend_by_table(0, bytes.data() + begin, all));
  }
}
