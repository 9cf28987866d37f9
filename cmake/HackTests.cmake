# What lets Open MPI run more ranks than cores, as any user, on one machine (DESIGN notes: yielding is what matters).
set(HACK_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1
  OMPI_MCA_mpi_yield_when_idle=1
  OMPI_MCA_btl_vader_single_copy_mechanism=none
  OMPI_MCA_btl_tcp_if_include=lo
  OMPI_MCA_oob_tcp_if_include=lo
  OMPI_MCA_hwloc_base_binding_policy=none
  OMP_NUM_THREADS=2
  # Open MPI keeps memory to the end of the process; leaks of our own are looked for in single-rank tools.
  ASAN_OPTIONS=detect_leaks=0
  UBSAN_OPTIONS=print_stacktrace=1)

# hack_add_test(NAME SOURCES file … [LINKS target …] [NP 1 2 …] [LABELS label …] [TIMEOUT seconds])
#
# One program, and one ctest entry per rank count: NAME/np1, NAME/np2, … labelled np1, np2, … Without NP it runs alone,
# as NAME. The header tests/support/paths.hpp has the source folder, the main program and the launcher.
function(hack_add_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LINKS;NP;LABELS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "hack_add_test(${name}): unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE hack_test_main ${ARG_LINKS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  hack_set_options(${name})
  hack_compile_briefly(${name})
  target_precompile_headers(${name} REUSE_FROM hack_test_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  if(NOT ARG_NP)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "np1;${ARG_LABELS}" ENVIRONMENT "${HACK_TEST_ENVIRONMENT}")
  endif()
  foreach(ranks IN LISTS ARG_NP)
    add_test(NAME ${name}/np${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} ${MPIEXEC_PREFLAGS} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}/np${ranks} PROPERTIES
      PROCESSORS ${ranks} TIMEOUT ${ARG_TIMEOUT} LABELS "np${ranks};${ARG_LABELS}" ENVIRONMENT "${HACK_TEST_ENVIRONMENT}")
  endforeach()
endfunction()
