# Compiler flags, third-party packages and the three functions that every folder uses.

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_program(MOLD mold)  # links in a fifth of the time
if(MOLD AND NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
  add_link_options(-fuse-ld=mold)
endif()

add_library(millrace_flags INTERFACE)
target_compile_options(millrace_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
target_include_directories(millrace_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
if(MILLRACE_WERROR)
  target_compile_options(millrace_flags INTERFACE -Werror)
endif()
if(MILLRACE_MUTATIONS)
  target_compile_definitions(millrace_flags INTERFACE MILLRACE_MUTATIONS=1)
endif()
if(MILLRACE_SANITIZE)
  add_compile_options(-fsanitize=${MILLRACE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${MILLRACE_SANITIZE})
endif()
if(MILLRACE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(Protobuf REQUIRED)
find_package(RocksDB REQUIRED)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka)

# millrace_library(NAME SOURCES a.cc … LINKS millrace::base … PRIVATE pkg …): one static library a folder.
# LINKS are the folders that this one may include; tests/tidy checks the includes against the table.
function(millrace_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE" ${ARGN})
  add_library(millrace_${name} STATIC ${ARG_SOURCES})
  add_library(millrace::${name} ALIAS millrace_${name})
  target_link_libraries(millrace_${name} PUBLIC ${ARG_LINKS} PRIVATE millrace_flags ${ARG_PRIVATE})
endfunction()

add_custom_target(units)  # the programs of `unit` and `sim`, without the rest of the tree: for the sanitizers

# millrace_unit_test(NAME SOURCES a_test.cc … LINKS millrace::x …): one doctest program a folder.
function(millrace_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(unit_${name} ${ARG_SOURCES})
  target_link_libraries(unit_${name} PRIVATE millrace_flags millrace_test_main ${ARG_LINKS})
  add_test(NAME unit_${name} COMMAND unit_${name})
  set(timeout 120)
  if(MILLRACE_SANITIZE)
    set(timeout 600)
  endif()
  set_tests_properties(unit_${name} PROPERTIES LABELS unit TIMEOUT ${timeout})
  add_dependencies(units unit_${name})
endfunction()

# millrace_fuzzer(NAME SOURCE file.cc LINKS millrace::x …): a libFuzzer program, built with the fuzz preset.
# Its seed corpus is tests/fuzz/corpus/NAME.
function(millrace_fuzzer name)
  cmake_parse_arguments(ARG "" "SOURCE" "LINKS" ${ARGN})
  if(NOT MILLRACE_FUZZ)
    return()
  endif()
  add_executable(fuzz_${name} ${ARG_SOURCE})
  target_link_libraries(fuzz_${name} PRIVATE millrace_flags ${ARG_LINKS})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  if(NOT TARGET fuzzers)
    add_custom_target(fuzzers)  # all of them, without the rest of the tree
  endif()
  add_dependencies(fuzzers fuzz_${name})
  # New inputs go to the first folder, in the build tree; the corpus in the tree is only read.
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/corpus/${name})
  add_test(NAME fuzz_${name} COMMAND fuzz_${name} -runs=200000 -max_total_time=7 -rss_limit_mb=512
           ${CMAKE_CURRENT_BINARY_DIR}/corpus/${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz_${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()
