// CRC-32C by the processor's own instruction, in place of RocksDB's table.
//
// Debian builds RocksDB without SSE 4.2, and its log, blobs and blocks are all checksummed: that
// was a fifth of what capture into the embedded log costs. Every call of rocksdb::crc32c::Extend in
// the program comes to crc32c_extend() instead, by the linker's --wrap (relay/log/CMakeLists.txt);
// where the instruction is missing it goes on to RocksDB's own. Invariant: both give the same sums,
// so a folder does not care who wrote it. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::log {

// The names by which the linker knows what it wraps: rocksdb::crc32c::Extend(uint32_t, const char*,
// size_t). A RocksDB without that function does not link.
uint32_t crc32c_extend(uint32_t crc, const char* data,
                       size_t size) asm("__wrap__ZN7rocksdb6crc32c6ExtendEjPKcm");
uint32_t crc32c_extend_by_table(uint32_t crc, const char* data,
                                size_t size) asm("__real__ZN7rocksdb6crc32c6ExtendEjPKcm");

}  // namespace millrace::log
