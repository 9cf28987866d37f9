# cmake --install: the program, the libraries with their headers, and a CMake package, so that other projects can say
# find_package(hack) and link hack::kernels, hack::io, hack::comm, hack::svd or hack::model (examples/ does).
include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/hack)

foreach(library kernels io comm svd model)
  set_target_properties(hack_${library} PROPERTIES EXPORT_NAME ${library})
  install(TARGETS hack_${library} EXPORT hackTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endforeach()
install(TARGETS hack RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# Shells look for completions there; the program writes them itself. Without them it works all the same.
install(CODE [[
  foreach(shell_and_file IN ITEMS "bash:bash-completion/completions/hack" "zsh:zsh/site-functions/_hack")
    string(REGEX REPLACE ":.*" "" shell "${shell_and_file}")
    string(REGEX REPLACE ".*:" "" file "${shell_and_file}")
    execute_process(COMMAND "$<TARGET_FILE:hack>" --completion ${shell} OUTPUT_VARIABLE script RESULT_VARIABLE failed ERROR_QUIET)
    if(NOT failed)
      file(WRITE "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/${file}" "${script}")
      message(STATUS "Installing: $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/${file}")
    endif()
  endforeach()
]])
install(EXPORT hackTargets NAMESPACE hack:: DESTINATION ${package})

install(DIRECTORY kernels src/io src/comm src/svd src/model DESTINATION ${HACK_INSTALL_INCLUDE}
  FILES_MATCHING PATTERN *.hpp PATTERN kernels/cuda EXCLUDE PATTERN kernels/stub EXCLUDE
  PATTERN gpu_collectives.hpp EXCLUDE PATTERN peer_memory.hpp EXCLUDE)
install(FILES ${PROJECT_BINARY_DIR}/generated/kernels/config.hpp DESTINATION ${HACK_INSTALL_INCLUDE}/kernels)

configure_package_config_file(cmake/hackConfig.cmake.in ${PROJECT_BINARY_DIR}/package/hackConfig.cmake
  INSTALL_DESTINATION ${package})
# Before 1.0 a new minor version may change what a program sees.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/hackConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/package/hackConfig.cmake
    ${PROJECT_BINARY_DIR}/package/hackConfigVersion.cmake
    cmake/HackDependencies.cmake
    cmake/HackCuda.cmake
  DESTINATION ${package})
