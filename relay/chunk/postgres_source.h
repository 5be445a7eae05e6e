// The JobSource of a real source: a ChunkReader and a Visibility, with a connection each.
#pragma once

#include <memory>

#include "relay/chunk/job_source.h"
#include "relay/source/options.h"

namespace millrace::chunk {

std::unique_ptr<JobSource> postgres_source(source::Options options);
std::unique_ptr<sink::RowSource> postgres_rows(source::Options options);

}  // namespace millrace::chunk
