# cmake --install: the program, the static libraries of all rooms, the public headers, and the
# package that another project finds with find_package(watersic) and links as watersic::watersic.
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY WATERSIC_ROOMS)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/watersic)

# The rooms are no interface, but a static library needs those that it is made of.
install(TARGETS watersic watersic_openblas ${rooms} EXPORT watersicTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/watersic)
if(TARGET watersic_cli)
  install(TARGETS watersic_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY include/watersic DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT watersicTargets NAMESPACE watersic:: DESTINATION ${package_dir})
configure_package_config_file(cmake/watersicConfig.cmake.in watersicConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(watersicConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/watersicConfig.cmake
              ${PROJECT_BINARY_DIR}/watersicConfigVersion.cmake
              cmake/dependencies.cmake
        DESTINATION ${package_dir})
