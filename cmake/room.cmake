# watersic_room(NAME [LOOPS] [RELEASE_TESTS | GLUE] [ROOMS room...] [LINK lib...]
#               [PUBLIC_LINK lib...] [TEST_ROOMS room...] [SUITES suite...])
#
# One folder of src/ as one static library `watersic_NAME`, from its *.cc, one test program
# `NAME_test`, from its *_test.cc, and, if asked for, one benchmark `NAME_bench`, from its
# *_bench.cc. A room's headers are reached as "NAME/file.h" through an include root of the room's own
# (a link in the build tree), so that a room sees only the rooms it names. LOOPS: how it is compiled
# (cmake/compile.cmake). RELEASE_TESTS, GLUE, SUITES: when its tests run, and how (watersic_tests).
# TEST_ROOMS: rooms that its tests and benchmarks use besides, also such as come after it. What tests
# share is in tests/support, "support/file.h".
function(watersic_room name)
  cmake_parse_arguments(ARG "LOOPS;GLUE;RELEASE_TESTS" ""
                        "ROOMS;LINK;PUBLIC_LINK;TEST_ROOMS;SUITES" ${ARGN})
  set(dir ${PROJECT_SOURCE_DIR}/src/${name})
  set(root ${PROJECT_BINARY_DIR}/rooms/${name})
  file(MAKE_DIRECTORY ${root})
  file(CREATE_LINK ${dir} ${root}/${name} SYMBOLIC)

  file(GLOB sources CONFIGURE_DEPENDS ${dir}/*.cc)
  set(tests ${sources})
  set(benchmarks ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER benchmarks INCLUDE REGEX "_bench\\.cc$")

  set(target watersic_${name})
  add_library(${target} STATIC ${sources})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${root}>
                                              $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                              $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  list(TRANSFORM ARG_ROOMS PREPEND watersic_ OUTPUT_VARIABLE rooms)
  target_link_libraries(${target} PUBLIC ${ARG_PUBLIC_LINK} PRIVATE ${ARG_LINK})
  # A room's rooms are linked for its own use; their headers do not leak to those who include it,
  # except where its own headers name them, and then the includer lists them too.
  target_link_libraries(${target} PRIVATE ${rooms})
  if(ARG_LOOPS)
    watersic_compile_options(${target} loops)
  else()
    watersic_compile_options(${target} glue)
  endif()
  set_property(GLOBAL APPEND PROPERTY WATERSIC_ROOMS ${target})

  list(TRANSFORM ARG_TEST_ROOMS PREPEND watersic_ OUTPUT_VARIABLE test_rooms)
  if(WATERSIC_TESTS AND tests)
    add_executable(${name}_test ${tests})
    target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${name}_test PRIVATE ${target} ${rooms} ${test_rooms} ${ARG_LINK}
                                               GTest::gtest_main)
    set(when)
    if(ARG_RELEASE_TESTS)
      set(when RELEASE_TESTS)
    elseif(ARG_GLUE)
      set(when GLUE)
    endif()
    watersic_tests(${name} ${when} SUITES ${ARG_SUITES})
  endif()
  if(WATERSIC_BENCHMARKS AND benchmarks)
    add_executable(${name}_bench EXCLUDE_FROM_ALL ${benchmarks})
    add_dependencies(benchmarks ${name}_bench)
    target_include_directories(${name}_bench PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${name}_bench PRIVATE ${target} ${rooms} ${test_rooms} ${ARG_LINK}
                                                benchmark::benchmark_main)
    watersic_compile_options(${name}_bench loops)
  endif()
endfunction()

# The tests of the program NAME_test, named NAME.*, each by itself but for those of SUITES, which
# share what takes long to set up. Every day they run in an optimized build and under the sanitizers.
# RELEASE_TESTS: in the former alone; they quantize whole models, run the program, or only print, and
# under the sanitizers it takes too long to build or to run them. GLUE: under the sanitizers alone;
# nothing in them depends on how it is optimized. What has Nightly in its name takes too long in any
# build. All are told by labels, for CMakePresets.json. COST: those of more begin earlier.
# ENVIRONMENT: of all.
function(watersic_tests name)
  cmake_parse_arguments(ARG "RELEASE_TESTS;GLUE" "COST;ENVIRONMENT" "SUITES" ${ARGN})
  if(NOT ARG_COST)
    set(ARG_COST 0)
  endif()
  target_compile_definitions(${name}_test PRIVATE WATERSIC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  watersic_compile_options(${name}_test test)
  set(label daily)
  if(ARG_RELEASE_TESTS)
    set(label release)
  else()
    add_dependencies(unit_tests ${name}_test)
  endif()
  if(ARG_GLUE)
    set(label glue)
  else()
    add_dependencies(optimized_tests ${name}_test)
  endif()
  set(others -*Nightly*)
  foreach(suite IN LISTS ARG_SUITES)
    string(APPEND others :${suite}.*)
    add_test(NAME ${name}.${suite} COMMAND ${name}_test --gtest_filter=${suite}.*)
    set_tests_properties(${name}.${suite} PROPERTIES LABELS ${label} COST ${ARG_COST})
  endforeach()
  gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                       TEST_FILTER "${others}" TEST_LIST ${name}_tests
                       PROPERTIES LABELS ${label} COST ${ARG_COST} ENVIRONMENT "${ARG_ENVIRONMENT}")
  gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                       TEST_FILTER "*Nightly*" TEST_LIST ${name}_nightly_tests
                       PROPERTIES LABELS nightly ENVIRONMENT "${ARG_ENVIRONMENT}")
endfunction()

# A name that the export set can carry without an imported pkg-config target's absolute paths.
add_library(watersic_openblas INTERFACE)
target_link_libraries(watersic_openblas INTERFACE PkgConfig::openblas)
