# Below it the folders' headers keep the paths by which they are included: "kernels/…", "svd/…".
include(GNUInstallDirs)
set(HACK_INSTALL_INCLUDE ${CMAKE_INSTALL_INCLUDEDIR}/hack)

# hack_add_library(NAME SOURCES file … LINKS target …): one static library per folder, with the project's warnings.
function(hack_add_library name)
  hack_add_library_of(STATIC ${name} ${ARGN})
endfunction()

# The same without the archive: object files, for one or more libraries.
function(hack_add_objects name)
  hack_add_library_of(OBJECT ${name} ${ARGN})
endfunction()

function(hack_add_library_of kind name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${name}: unknown arguments ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  add_library(${name} ${kind} ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR};${PROJECT_SOURCE_DIR}/src;${PROJECT_BINARY_DIR}/generated>"
    $<INSTALL_INTERFACE:${HACK_INSTALL_INCLUDE}>)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PUBLIC ${ARG_LINKS})
  hack_set_options(${name})
endfunction()

function(hack_set_options name)
  set(warnings -Wall -Wextra -Wshadow -Wno-missing-field-initializers)
  if(HACK_WARNINGS_AS_ERRORS)
    list(APPEND warnings -Werror)
  endif()
  # GCC 12 takes "literal" + std::string for overlapping memory (its bug 105651).
  target_compile_options(${name} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${warnings};$<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;$<$<BOOL:${HACK_WARNINGS_AS_ERRORS}>:-Werror=all-warnings>>")
  if(HACK_SANITIZE)
    # GCC warns of uninitialized numbers that its own instrumentation makes.
    target_compile_options(${name} PRIVATE -fsanitize=address,undefined -fno-omit-frame-pointer
      -fno-sanitize-recover=undefined $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_link_options(${name} PRIVATE -fsanitize=address,undefined)
    if(HACK_FUZZ)
      target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
  endif()
endfunction()

# hack_compile_together(NAME [BUT file …]): under the sanitizers, and where HACK_COMPILE_TOGETHER asks for it, eight files
# at a time as one. What their headers make of JSON, options and containers is most of each object, and slow to instrument.
# A clash of two files' own names shows there as an error: rename one, or put it after BUT.
function(hack_compile_together name)
  cmake_parse_arguments(ARG "" "" "BUT" ${ARGN})
  if(HACK_SANITIZE OR HACK_COMPILE_TOGETHER)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
    # What a source keeps to itself looks as if it stood in a header.
    target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
    if(ARG_BUT)
      set_source_files_properties(${ARG_BUT} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
  endif()
endfunction()

# For code that only calls what takes the time, and consists mostly of templates: a third of the compile time.
function(hack_compile_briefly name)
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(HACK_SANITIZE)
    # Left to the libraries below, which compute addresses: in the templates of GoogleTest, JSON and options these checks
    # take two fifths of the compile time. Faults of memory are looked for here too, by calls in place of inline code.
    target_compile_options(${name} PRIVATE -fno-sanitize=null,alignment,object-size,pointer-overflow,vptr
      $<$<CXX_COMPILER_ID:GNU>:--param=asan-instrumentation-with-call-threshold=0>)
  endif()
endfunction()
