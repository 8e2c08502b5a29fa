# How everything is compiled. A source is of one of three kinds; each has a precompiled header of its
# own, since GCC takes one only with the options that it was made with:
#
#   loops   the rooms in whose loops a run spends its time: -O3
#   glue    all else that a user runs: -O1 takes GCC two thirds of the time
#   test    tests: not optimized, with GoogleTest in the header
#
# A source includes what it needs all the same: the preset by-source and tools/tidy do without these
# headers. nlohmann/json.hpp is not in them: wherever it is seen, its parser is instantiated, which is
# 0.8 s a source.

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Or it would not keep what is compiled with a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

# watersic_compile_options(TARGET KIND)
function(watersic_compile_options target kind)
  watersic_flags(${target} ${kind})
  # Linked by all, since what is defined must agree with the header, too.
  target_link_libraries(${target} PRIVATE fmt::fmt)
  if(WATERSIC_PCH)
    target_precompile_headers(${target} REUSE_FROM watersic_pch_${kind})
  endif()
  # Several sources as one: what they all instantiate, of JSON above all, is compiled once. Not where
  # Highway compiles a source again for each target.
  if(WATERSIC_UNITY AND NOT kind STREQUAL loops)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  endif()
endfunction()

# Contraction is off so that a product and a sum round alike on every CPU; math-errno only costs.
function(watersic_flags target kind)
  if(kind STREQUAL loops)
    set(level -O3)
  elseif(kind STREQUAL glue)
    set(level -O1)
  else()
    set(level -O0)
  endif()
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
    $<$<BOOL:${WATERSIC_WERROR}>:-Werror> $<$<CONFIG:Release>:${level}>
    -fPIC -ffp-contract=off -fno-math-errno -fno-trapping-math)
  if(WATERSIC_SANITIZE)
    # Under the sanitizers GCC warns of uninitialized members inside the standard library.
    target_compile_options(${target} PRIVATE -fsanitize=${WATERSIC_SANITIZE} -fno-sanitize-recover=all
                           -fno-omit-frame-pointer
                           $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
                           $<$<STREQUAL:${kind},test>:-O0>)
    target_link_options(${target} PUBLIC -fsanitize=${WATERSIC_SANITIZE})
  endif()
endfunction()

# The header of a kind is compiled with a library of an empty source.
function(watersic_precompiled_header kind)
  set(target watersic_pch_${kind})
  set(source ${PROJECT_BINARY_DIR}/${target}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "")
  add_library(${target} OBJECT ${source})
  watersic_flags(${target} ${kind})
  target_link_libraries(${target} PRIVATE fmt::fmt)
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <cmath> <filesystem> <functional> <map> <memory> <optional> <set> <span>
    <string> <string_view> <vector> <fmt/format.h>)
  if(kind STREQUAL test)
    target_link_libraries(${target} PRIVATE GTest::gtest_main)
    target_precompile_headers(${target} PRIVATE <gtest/gtest.h>)
  endif()
endfunction()

if(WATERSIC_PCH)
  watersic_precompiled_header(loops)
  watersic_precompiled_header(glue)
  if(WATERSIC_TESTS)
    watersic_precompiled_header(test)
  endif()
endif()
